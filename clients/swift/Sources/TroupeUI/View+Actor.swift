// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import SwiftUI
import Troupe
import TroupeCore

private struct ActorClientKey: EnvironmentKey {
    static let defaultValue: ActorClient? = nil
}

extension EnvironmentValues {
    /// The client whose actors the views below use.
    public var actorClient: ActorClient? {
        get { self[ActorClientKey.self] }
        set { self[ActorClientKey.self] = newValue }
    }
}

extension View {
    /// The client whose actors this view and those below use. It is told when the app goes
    /// to the background and comes back, so that dead streams are opened anew at once.
    public func troupe(_ client: ActorClient) -> some View {
        modifier(ClientModifier(client: client))
    }

    /// Calls `action` for every event of the actor while this view is there. Nil stands
    /// for events that were missed: read the actor's state anew.
    public func onActorEvent<Client: SubscribableClient>(
        _ actor: ActorState<Client>, perform action: @escaping @MainActor (Client.Event?) -> Void
    ) -> some View {
        task(id: actor.connection.map { ObjectIdentifier($0) }) {
            guard let connection = actor.connection else { return }
            while !Task.isCancelled {
                do {
                    for try await delivery in connection.events() {
                        switch delivery {
                        case .event(let event, _): action(event)
                        case .opened(let info): if info.gap != nil { action(nil) }
                        }
                    }
                    return
                } catch let error as ActorError where error.reason == "consumer_too_slow" {
                    action(nil) // the buffer is full of what nobody has looked at: begin again
                } catch {
                    return // the actor's status says why
                }
            }
        }
    }

    /// Calls `action` for every error of the actor's connection while this view is there.
    public func onActorError<Client: SubscribableClient>(
        _ actor: ActorState<Client>, perform action: @escaping @MainActor (ActorError) -> Void
    ) -> some View {
        task(id: actor.connection.map { ObjectIdentifier($0) }) {
            guard let connection = actor.connection else { return }
            for await error in connection.errors() { action(error) }
        }
    }
}

private struct ClientModifier: ViewModifier {
    let client: ActorClient
    @Environment(\.scenePhase) private var phase

    func body(content: Content) -> some View {
        content
            .environment(\.actorClient, client)
            .onChange(of: phase) { _, phase in
                switch phase {
                case .active: client.enteredForeground()
                case .background: client.enteredBackground()
                default: break
                }
            }
    }
}
