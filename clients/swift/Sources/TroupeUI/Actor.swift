// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Connect
import Foundation
import SwiftProtobuf
import SwiftUI
import Troupe
import TroupeCore

/// One actor in a view:
///
///     @Actor(Chat_V1_ChatRoomClient.self, ["acme", "general"], params: .with { $0.user = "ada" }) var room
///
/// The view is drawn again when the connection's status or error changes. Views that name
/// the same actor in the same way share one connection, which is closed 5 s after the last
/// of them has gone. The client comes from the environment: see `View.troupe(_:)`.
@MainActor
@propertyWrapper
public struct Actor<Client: SubscribableClient>: DynamicProperty {
    @Environment(\.actorClient) private var environmentClient
    @State private var state = ActorState<Client>()

    private let key: [String]
    private let resolve: Resolve
    private let input: Data?
    private let params: Client.Params
    private let options: ConnectionOptions
    private let enabled: Bool

    /// The actor with this key, which is created if it is absent, with this input, unless
    /// `creates` is false. While `enabled` is false there is no connection.
    public init(
        _ client: Client.Type, _ key: [String], params: Client.Params = .init(), input: (any ProtobufMessage)? = nil,
        creates: Bool = true, options: ConnectionOptions = .init(), enabled: Bool = true
    ) {
        self.key = key
        resolve = creates ? .getOrCreate : .get
        self.input = creates ? input?.encodedForAddress : nil
        self.params = params
        self.options = options
        self.enabled = enabled
    }

    public var wrappedValue: ActorState<Client> { state }

    nonisolated public func update() {
        MainActor.assumeIsolated { state.follow(enabled ? wish : nil) }
    }

    private var wish: Lease<Client>.Wish? {
        guard let client = environmentClient else { return nil }
        let target = Address.Target.key(key, resolve)
        let (params, options, input) = (params, options, input)
        let key = ActorConnections.Key(
            client: ObjectIdentifier(client), type: ObjectIdentifier(Client.self), target: target, input: input,
            params: params.encodedForAddress, options: options)
        return Lease.Wish(client: client, key: key) {
            ActorConnection(client.handle(target, encodedInput: input), params: params, options: options)
        }
    }
}
