// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Connect
import Foundation
import SwiftProtobuf
import TroupeCore

/// A generated client of an actor type with a subscription. If the schema calls it
/// Subscribe, that the client is one is all there is to say:
///
///     extension Chat_V1_ChatRoomClient: SubscribableClient {}
///
/// Otherwise `subscribe(headers:)` calls the method that it is.
public protocol SubscribableClient: Sendable {
    /// The subscription's request: the connection's parameters.
    associatedtype Params: ProtobufMessage
    /// The union of the actor's events.
    associatedtype Event: ProtobufMessage

    init(client: any ProtocolClientInterface)
    func subscribe(headers: Headers) -> any ServerOnlyAsyncStreamInterface<Params, Event>
}

/// A connection to one actor. It follows the actor's events and reconnects by itself: see
/// `Connection`, which says how and when. It begins with its first use; ``close()`` it.
///
///     let connection = ActorConnection<Chat_V1_ChatRoomClient>(handle, params: .with { $0.user = "ada" })
///     for try await delivery in connection.events() {
///         if case .event(let event, _) = delivery, case .messagePosted(let posted) = event.event { … }
///     }
public final class ActorConnection<Client: SubscribableClient>: Sendable {
    /// The generated client whose calls run as this connection. While it is not open they
    /// wait, up to 10 s.
    public let actor: Client
    private let core: Connection<Client.Event>

    /// A connection with the same parameters for every stream.
    public convenience init(_ handle: ActorHandle, params: Client.Params = .init(), options: ConnectionOptions = .init()) {
        self.init(handle, options: options) { params }
    }

    /// A connection whose parameters are made anew for every stream: the place for tokens.
    public init(_ handle: ActorHandle, options: ConnectionOptions = .init(), params: @escaping @Sendable () async throws -> Client.Params) {
        var address = handle.address
        address.params = nil // those of calls outside a connection have no place in one
        let calls = handle.client.calls(address)
        let subscriber = Client(client: handle.client.base)
        core = Connection(options: options, platform: handle.client.options.platform) { headers in
            let request = try await params()
            let stream = subscriber.subscribe(headers: try await calls.streamHeaders(headers).multiple)
            let results = stream.results()
            try stream.send(request)
            return Self.frames(results, cancel: stream.cancel)
        }
        actor = Client(client: ActorHandle(client: handle.client, address: address, connection: core))
        handle.client.connections.add(core)
    }

    /// Streams that open and events, from now on, in order. Each call has a buffer of its
    /// own, of ``ConnectionOptions/buffer`` deliveries.
    public func events() -> AsyncThrowingStream<Delivery<Client.Event>, any Error> { core.events() }
    /// The status now, and each one that follows.
    public func statuses() -> AsyncStream<ConnectionStatus> { core.statuses() }
    /// The errors of the connection, those that it recovers from included.
    public func errors() -> AsyncStream<ActorError> { core.errors() }
    public var status: ConnectionStatus { core.status }
    /// Begins to connect, if that has not begun yet.
    public func open() { core.open() }
    /// Waits until the connection is open. Throws ``ActorError``.
    public func ready(timeout: Duration? = nil) async throws { try await core.ready(timeout: timeout) }
    /// Ends the wait for the next stream.
    public func reconnectNow() { core.reconnectNow() }
    /// Ends the connection.
    public func close() { core.close() }

    private static func frames(
        _ results: AsyncStream<StreamResult<Client.Event>>, cancel: @escaping @Sendable () -> Void
    ) -> AsyncThrowingStream<Frame<Client.Event>, any Error> {
        AsyncThrowingStream { continuation in
            let task = Task {
                for await result in results {
                    switch result {
                    case .headers: break
                    case .message(let message):
                        let info = EventInfo(of: message)
                        continuation.yield(Frame(info: info, event: info.control == nil ? message : nil))
                    case .complete(_, let error as ConnectError, _): continuation.finish(throwing: ActorError(error))
                    case .complete(_, let error?, _): continuation.finish(throwing: ActorError.from(error))
                    case .complete(let code, nil, _):
                        let error = code == .ok ? nil : ActorError(TroupeCore.Code(rawValue: code.name) ?? .unknown, "the stream failed")
                        continuation.finish(throwing: error)
                    }
                }
                continuation.finish()
            }
            continuation.onTermination = { _ in
                task.cancel()
                cancel()
            }
        }
    }
}
