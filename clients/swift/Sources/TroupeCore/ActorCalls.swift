// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// How calls reach one actor: what an address, a client's own headers, idempotency keys
/// and retries add to them. It sends nothing itself: whoever makes a call says how one
/// attempt is made.
public struct ActorCalls: Sendable {
    /// Headers of the caller's own, asked for anew before every attempt: the place for
    /// tokens. What it throws fails the attempt.
    public typealias HeaderSource = @Sendable () async throws -> [String: String]

    /// Whom the calls reach.
    public let address: Address
    private let retries: RetryPolicy
    private let keys: Bool
    private let headers: HeaderSource

    /// With `keys`, every call of a method that may have effects gets an idempotency key.
    public init(address: Address, retries: RetryPolicy, keys: Bool, headers: @escaping HeaderSource) {
        self.address = address
        self.retries = retries
        self.keys = keys
        self.headers = headers
    }

    /// Makes a unary call. `attempt` gets the metadata to send and what is left of the
    /// time limit. Throws ``ActorError``.
    public func unary<Reply>(
        _ method: Method,
        headers own: [String: String] = [:],
        timeout: Duration? = nil,
        attempt: (_ headers: [String: String], _ timeout: Duration?) async throws -> Reply
    ) async throws -> Reply {
        let own = keyed(own, method)
        let time = retries.platform.time
        return try await retries.run(method, keyed: own[HeaderName.idempotencyKey] != nil, timeout: timeout) { left in
            let started = time.now()
            let headers = try await merged(own, within: left)
            return try await attempt(headers, left.map { max(.milliseconds(1), $0 - (time.now() - started)) })
        }
    }

    /// Makes a unary call as a connection. All attempts have one idempotency key: one
    /// whose answer was lost may have had its effect. None is sent over a stream that has
    /// ended meanwhile.
    public func unary<Reply>(
        _ method: Method,
        over connection: any ConnectionCalls,
        headers own: [String: String] = [:],
        timeout: Duration? = nil,
        attempt: (_ headers: [String: String], _ timeout: Duration?) async throws -> Reply
    ) async throws -> Reply {
        let own = keyed(own, method)
        return try await connection.call(method, timeout: timeout) { token, left in
            try await unary(method, headers: own.merging([HeaderName.connection: token]) { $1 }, timeout: left) { headers, left in
                guard connection.isOpen(as: token) else { throw ActorError.connectionGone }
                return try await attempt(headers, left)
            }
        }
    }

    /// The metadata of a stream.
    public func streamHeaders(_ own: [String: String] = [:]) async throws -> [String: String] {
        try await merged(own)
    }

    /// The caller's own headers, with names in lower case and a key if the call needs one.
    private func keyed(_ own: [String: String], _ method: Method) -> [String: String] {
        var own = own.reduce(into: [:]) { $0[$1.key.lowercased()] = $1.value }
        if own[HeaderName.idempotencyKey] == "" {
            own[HeaderName.idempotencyKey] = nil // to the server it is none
        }
        guard keys, method.idempotency == .unknown, own[HeaderName.idempotencyKey] == nil else { return own }
        return own.merging([HeaderName.idempotencyKey: RetryPolicy.newKey()]) { $1 }
    }

    /// The same within a time limit, which whoever makes headers does not know: a call ends
    /// with it all the same, and nothing was sent.
    private func merged(_ own: [String: String], within limit: Duration?) async throws -> [String: String] {
        guard let limit else { return try await merged(own) }
        let made = OneShot<Result<[String: String], ActorError>>()
        let maker = Task {
            do {
                made.resolve(.success(try await merged(own)))
            } catch {
                made.resolve(.failure(ActorError.from(error)))
            }
        }
        let timer = Task {
            guard (try? await retries.platform.time.sleep(for: limit)) != nil else { return }
            made.resolve(.failure(.client(.deadlineExceeded, "the call's headers did not come in time", reason: "headers_late")))
        }
        defer {
            maker.cancel()
            timer.cancel()
        }
        return try await withTaskCancellationHandler {
            try await made.get().get()
        } onCancel: {
            made.resolve(.failure(.client(.canceled, "the call was cancelled", reason: "canceled")))
        }
    }

    /// A call's own headers win over the client's, and the address over both.
    private func merged(_ own: [String: String]) async throws -> [String: String] {
        var headers = try await headers().reduce(into: [:]) { $0[$1.key.lowercased()] = $1.value }
        for (name, value) in own {
            headers[name.lowercased()] = value
        }
        // A connection's parameters are the connection's: those for calls outside stay away.
        var fixed = try address.headers()
        if headers[HeaderName.connection] != nil {
            fixed[HeaderName.params] = nil
        }
        return headers.merging(fixed) { $1 }
    }
}
