// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Connect
import Foundation
import SwiftProtobuf
import TroupeCore

/// A server's actors. It holds nothing open until it is used, and may be used by any
/// number of tasks; a program needs one for each server.
///
/// A handle is a Connect client bound to an actor, which every generated client takes:
///
///     let actors = ActorClient(baseURL: URL(string: "https://chat.example.com")!)
///     let room = Chat_V1_ChatRoomClient(client: actors.getOrCreate(["acme", "general"]))
///     let reply = try await room.send(request: .with { $0.text = "hi" }).get()
public final class ActorClient: Sendable {
    /// How a client behaves.
    public struct Options: Sendable {
        /// The tenant.
        public var namespace = "default"
        /// Sent with every call and stream; asked anew for every attempt: the place for
        /// tokens.
        public var headers: ActorCalls.HeaderSource = { [:] }
        /// Repeats calls: see `RetryPolicy`.
        public var retries = true
        /// Gives every call of a method that may have effects an idempotency key.
        public var idempotencyKeys = true
        /// `ProtoCodec()`, or `JSONCodec()`, which is easier to read on the wire.
        public var codec: any Codec = ProtoCodec()
        /// `.connect` or `.grpcWeb`.
        public var networkProtocol = NetworkProtocol.connect
        public var httpClient: (any HTTPClientInterface)?
        public var platform = Platform.system

        public init() {}
    }

    let base: ProtocolClient
    let options: Options
    let retries: RetryPolicy
    let connections = ConnectionRegistry()

    /// A client of the server at `baseURL`. It sends nothing yet.
    public init(baseURL: URL, options: Options = .init()) {
        self.options = options
        retries = RetryPolicy(platform: options.platform, enabled: options.retries)
        base = ProtocolClient(
            httpClient: options.httpClient ?? ActorHTTPClient(),
            config: ProtocolClientConfig(
                host: baseURL.absoluteString, networkProtocol: options.networkProtocol, codec: options.codec,
                responseCompressionPools: [])) // URLSession compresses by itself
    }

    /// The actor with this key, which a first call creates, with this input. Params are
    /// those of calls made outside a connection.
    public func getOrCreate(_ key: [String], input: (any SwiftProtobuf.Message)? = nil, params: (any SwiftProtobuf.Message)? = nil) -> ActorHandle {
        handle(.key(key, .getOrCreate), input: input, params: params)
    }

    /// The actor with this key. Calls fail with `not_found` while there is none.
    public func get(_ key: [String], params: (any SwiftProtobuf.Message)? = nil) -> ActorHandle {
        handle(.key(key, .get), params: params)
    }

    /// The actor with this key. A call creates it, and fails with `already_exists` if it
    /// is there: so only the first call can succeed.
    public func create(_ key: [String], input: (any SwiftProtobuf.Message)? = nil, params: (any SwiftProtobuf.Message)? = nil) -> ActorHandle {
        handle(.key(key, .create), input: input, params: params)
    }

    /// One incarnation of an actor. Calls fail with `not_found` once it is destroyed.
    public func forID(_ id: String, params: (any SwiftProtobuf.Message)? = nil) -> ActorHandle {
        handle(.id(id), params: params)
    }

    /// A client of services that are no actors, such as the lifecycle API:
    /// `Troupe_V1_ActorServiceClient(client: actors.services)`.
    public var services: any ProtocolClientInterface { ServiceHandle(client: self) }

    /// Tells every open connection that the app went to the background.
    public func enteredBackground() { connections.forEach { $0.enteredBackground() } }

    /// Tells every open connection that the app is in the foreground again: those that may
    /// be dead are opened anew at once. TroupeUI does both by itself.
    public func enteredForeground() { connections.forEach { $0.enteredForeground() } }

    private func handle(
        _ target: Address.Target, input: (any SwiftProtobuf.Message)? = nil, params: (any SwiftProtobuf.Message)? = nil
    ) -> ActorHandle {
        ActorHandle(client: self, address: Address(
            target, namespace: options.namespace, input: input?.encodedForAddress, params: params?.encodedForAddress))
    }

    /// The actor of an address whose input is encoded already.
    package func handle(_ target: Address.Target, encodedInput: Data?) -> ActorHandle {
        ActorHandle(client: self, address: Address(target, namespace: options.namespace, input: encodedInput))
    }

    func calls(_ address: Address) -> ActorCalls {
        ActorCalls(address: address, retries: retries, keys: options.idempotencyKeys, headers: options.headers)
    }
}

/// The connections of a client that are in use.
final class ConnectionRegistry: Sendable {
    private struct Weak { weak var connection: (any Backgroundable)? }

    private let all = Locked<[ObjectIdentifier: Weak]>([:])

    func add(_ connection: any Backgroundable) {
        all.withLock { all in
            all = all.filter { $0.value.connection != nil }
            all[ObjectIdentifier(connection)] = Weak(connection: connection)
        }
    }

    func forEach(_ body: (any Backgroundable) -> Void) {
        all.withLock { $0.values.compactMap(\.connection) }.forEach(body)
    }
}

/// What is told where the app is.
protocol Backgroundable: AnyObject, Sendable {
    func enteredBackground()
    func enteredForeground()
}

extension Connection: Backgroundable {}

extension SwiftProtobuf.Message {
    /// The message as addresses have it. One that cannot be encoded becomes one that is
    /// too large for any address, so that its calls fail.
    package var encodedForAddress: Data {
        (try? serializedBytes(partial: true)) ?? Data(count: Address.maxBinaryHeaderBytes + 1)
    }
}
