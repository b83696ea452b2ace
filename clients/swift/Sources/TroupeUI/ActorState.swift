// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Connect
import Foundation
import Observation
import SwiftUI
import Troupe
import TroupeCore

/// What a view knows of one actor. It is what the property wrapper ``Actor`` gives, and
/// changes as the connection does.
@Observable
@MainActor
public final class ActorState<Client: SubscribableClient> {
    /// Where the connection stands.
    public private(set) var status = ConnectionStatus.idle
    /// The newest error of the connection or of ``send(_:)``; nil while it is connected
    /// and nothing has failed since.
    public internal(set) var error: ActorError?
    /// The connection; nil while the wrapper is not enabled.
    public private(set) var connection: ActorConnection<Client>?

    public var isConnected: Bool { status.isConnected }

    /// The generated client whose calls run as the connection; nil while the wrapper is
    /// not enabled.
    public var actor: Client? { connection?.actor }

    @ObservationIgnored private var lease: Lease<Client>?
    /// They hold nothing of this, and end with the connection if not before.
    @ObservationIgnored private var watchers: [Task<Void, Never>] = []

    init() {}

    /// Runs an action and forgets about it; what it throws becomes ``error``.
    public func send(_ action: @escaping @Sendable (Client) async throws -> Void) {
        guard let actor else { return }
        Task {
            do {
                try await action(actor)
            } catch {
                self.error = ActorError.from(error)
            }
        }
    }

    /// Follows the connection that the lease is for, instead of the one before.
    func follow(_ wanted: Lease<Client>.Wish?) {
        guard lease?.wish.key != wanted?.key else { return }
        watchers.forEach { $0.cancel() }
        watchers = []
        lease = wanted.map(Lease.init) // the one before is given back
        connection = lease?.connection
        status = connection?.status ?? .idle
        error = nil
        guard let connection else { return }
        watchers = [
            Task { [weak self] in
                for await status in connection.statuses() {
                    guard let self else { return }
                    self.status = status
                    switch status {
                    case .connected: self.error = nil
                    case .closed(let info): self.error = info.error
                    default: break
                    }
                }
            },
            Task { [weak self] in
                for await error in connection.errors() {
                    guard let self else { return }
                    self.error = error
                }
            },
        ]
        connection.open()
    }
}

/// One use of a shared connection. It is given back when this is gone.
final class Lease<Client: SubscribableClient>: Sendable {
    /// Which connection, and how to make it.
    struct Wish: Sendable {
        let client: ActorClient
        let key: ActorConnections.Key
        let make: @Sendable () -> ActorConnection<Client>
    }

    let wish: Wish
    let connection: ActorConnection<Client>?

    init(_ wish: Wish) {
        self.wish = wish
        connection = ActorConnections.shared.acquire(wish)
    }

    deinit {
        ActorConnections.shared.release(wish.key)
    }
}

/// The connections that views share: views that want the same one get the same one, and
/// it is closed 5 s after the last of them has left.
final class ActorConnections: Sendable {
    /// What makes a connection the same.
    struct Key: Hashable, Sendable {
        let client: ObjectIdentifier
        let type: ObjectIdentifier
        let target: Address.Target
        let input: Data?
        let params: Data
        let options: ConnectionOptions
    }

    /// A connection, whatever its type is.
    struct Entry: Sendable {
        let connection: any Sendable
        let close: @Sendable () -> Void
        let client: ActorClient // alive as long as its identity is in a key
    }

    static let shared = ActorConnections()

    private let cache = ReferenceCache<Key, Entry> { $0.close() }

    func acquire<Client>(_ wish: Lease<Client>.Wish) -> ActorConnection<Client>? {
        let entry = cache.acquire(wish.key) {
            let connection = wish.make()
            return Entry(connection: connection, close: { connection.close() }, client: wish.client)
        }
        return entry.connection as? ActorConnection<Client>
    }

    func release(_ key: Key) { cache.release(key) }
}
