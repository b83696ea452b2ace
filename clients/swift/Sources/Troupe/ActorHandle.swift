// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Connect
import Foundation
import SwiftProtobuf
import TroupeCore

/// One actor, as a Connect client that any generated client takes: it adds the actor's
/// address to every call, repeats what may be repeated and, if it is a connection's, makes
/// every call as that connection. It holds nothing open.
///
/// The errors of generated methods are of connect-swift; `get()` on their result throws
/// ``ActorError`` instead.
public struct ActorHandle: BoundClient {
    let client: ActorClient
    let address: Address
    var connection: (any ConnectionCalls)?

    var base: ProtocolClient { client.base }

    func unary<Reply>(
        _ method: TroupeCore.Method, _ headers: [String: String], _ attempt: @Sendable ([String: String]) async throws -> Reply
    ) async throws -> Reply {
        let calls = calls
        if let connection {
            return try await calls.unary(method, over: connection, headers: headers) { headers, _ in try await attempt(headers) }
        }
        return try await calls.unary(method, headers: headers) { headers, _ in try await attempt(headers) }
    }

    func streamHeaders(_ own: [String: String]) async throws -> [String: String] {
        guard let connection else { return try await calls.streamHeaders(own) }
        let method = TroupeCore.Method(service: "", name: "")
        let calls = calls
        return try await connection.call(method, timeout: nil) { token, _ in
            try await calls.streamHeaders(own.merging([HeaderName.connection: token]) { $1 })
        }
    }

    private var calls: ActorCalls { client.calls(address) }
}

/// Services that are no actors.
struct ServiceHandle: BoundClient {
    let client: ActorClient

    var base: ProtocolClient { client.base }

    func unary<Reply>(
        _ method: TroupeCore.Method, _ headers: [String: String], _ attempt: @Sendable ([String: String]) async throws -> Reply
    ) async throws -> Reply {
        try await client.retries.run(method, keyed: false) { _ in try await attempt(try await streamHeaders(headers)) }
    }

    func streamHeaders(_ own: [String: String]) async throws -> [String: String] {
        try await client.options.headers().merging(own) { $1 }
    }
}

/// A Connect client that says itself how unary calls are made and what streams send.
protocol BoundClient: ProtocolClientInterface {
    var base: ProtocolClient { get }
    func unary<Reply>(
        _ method: TroupeCore.Method, _ headers: [String: String], _ attempt: @Sendable ([String: String]) async throws -> Reply
    ) async throws -> Reply
    func streamHeaders(_ own: [String: String]) async throws -> [String: String]
}

extension BoundClient {
    public func unary<Input: ProtobufMessage, Output: ProtobufMessage>(
        path: String, idempotencyLevel: IdempotencyLevel, request: Input, headers: Headers
    ) async -> ResponseMessage<Output> {
        do {
            return try await unary(Method(path: path, idempotencyLevel), headers.single) { [base] headers in
                let response: ResponseMessage<Output> = await base.unary(
                    path: path, idempotencyLevel: idempotencyLevel, request: request, headers: headers.multiple)
                if let error = response.error {
                    throw ActorError(error)
                }
                return response
            }
        } catch {
            let error = ActorError.from(error).connect
            return ResponseMessage(code: error.code, result: .failure(error))
        }
    }

    @discardableResult
    public func unary<Input: ProtobufMessage, Output: ProtobufMessage>(
        path: String, idempotencyLevel: IdempotencyLevel, request: Input, headers: Headers,
        completion: @escaping @Sendable (ResponseMessage<Output>) -> Void
    ) -> Cancelable {
        let task = Task { completion(await unary(path: path, idempotencyLevel: idempotencyLevel, request: request, headers: headers)) }
        return Cancelable { task.cancel() }
    }

    public func serverOnlyStream<Input: ProtobufMessage, Output: ProtobufMessage>(
        path: String, headers: Headers
    ) -> any ServerOnlyAsyncStreamInterface<Input, Output> {
        ActorStream<Input, Output> { [base] in
            let headers = try await streamHeaders(headers.single)
            return base.serverOnlyStream(path: path, headers: headers.multiple)
        }
    }

    public func serverOnlyStream<Input: ProtobufMessage, Output: ProtobufMessage>(
        path: String, headers: Headers, onResult: @escaping @Sendable (StreamResult<Output>) -> Void
    ) -> any ServerOnlyStreamInterface<Input> {
        let stream = ActorStream<Input, Output> { [base] in
            let headers = try await streamHeaders(headers.single)
            return base.serverOnlyStream(path: path, headers: headers.multiple)
        }
        Task {
            for await result in stream.results() { onResult(result) }
        }
        return CallbackStream(stream: stream)
    }

    // An actor has no methods of these kinds: the server says so.

    public func bidirectionalStream<Input: ProtobufMessage, Output: ProtobufMessage>(
        path: String, headers: Headers
    ) -> any BidirectionalAsyncStreamInterface<Input, Output> {
        base.bidirectionalStream(path: path, headers: headers)
    }

    public func bidirectionalStream<Input: ProtobufMessage, Output: ProtobufMessage>(
        path: String, headers: Headers, onResult: @escaping @Sendable (StreamResult<Output>) -> Void
    ) -> any BidirectionalStreamInterface<Input> {
        base.bidirectionalStream(path: path, headers: headers, onResult: onResult)
    }

    public func clientOnlyStream<Input: ProtobufMessage, Output: ProtobufMessage>(
        path: String, headers: Headers
    ) -> any ClientOnlyAsyncStreamInterface<Input, Output> {
        base.clientOnlyStream(path: path, headers: headers)
    }

    public func clientOnlyStream<Input: ProtobufMessage, Output: ProtobufMessage>(
        path: String, headers: Headers, onResult: @escaping @Sendable (StreamResult<Output>) -> Void
    ) -> any ClientOnlyStreamInterface<Input> {
        base.clientOnlyStream(path: path, headers: headers, onResult: onResult)
    }
}

extension TroupeCore.Method {
    /// The method at a path, such as "/chat.v1.ChatRoom/Send".
    init(path: String, _ level: IdempotencyLevel) {
        let parts = path.split(separator: "/")
        let idempotency: Idempotency =
            switch level {
            case .unknown: .unknown
            case .noSideEffects: .noSideEffects
            case .idempotent: .idempotent
            }
        self.init(service: parts.dropLast().joined(separator: "/"), name: parts.last.map(String.init) ?? "", idempotency: idempotency)
    }
}

extension Headers {
    /// One value for each name, in lower case.
    var single: [String: String] {
        reduce(into: [:]) { $0[$1.key.lowercased()] = $1.value.joined(separator: ",") }
    }
}

extension [String: String] {
    var multiple: Headers { mapValues { [$0] } }
}
