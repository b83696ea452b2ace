// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Connect
import Foundation
import SwiftProtobuf
import Testing
import Troupe
import TroupeCore

@testable import TroupeUI

/// A client whose server cannot be reached: what is tested is who shares what.
private struct Nowhere: SubscribableClient {
    let client: any ProtocolClientInterface

    init(client: any ProtocolClientInterface) { self.client = client }

    func subscribe(headers: Headers) -> any ServerOnlyAsyncStreamInterface<Google_Protobuf_Empty, Google_Protobuf_Empty> {
        client.serverOnlyStream(path: "/nowhere.v1.Nowhere/Subscribe", headers: headers)
    }
}

@MainActor @Suite(.timeLimit(.minutes(1))) struct ActorStateTests {
    private let client = ActorClient(baseURL: URL(string: "http://127.0.0.1:9")!)

    private func wish(_ key: [String]) -> Lease<Nowhere>.Wish {
        let target = Address.Target.key(key, .getOrCreate)
        let id = ActorConnections.Key(
            client: ObjectIdentifier(client), type: ObjectIdentifier(Nowhere.self), target: target, input: nil, params: Data(),
            options: .init())
        return Lease.Wish(client: client, key: id) { [client] in ActorConnection(client.handle(target, encodedInput: nil)) }
    }

    @Test func viewsOfTheSameActorShareAConnection() {
        let (one, two, other) = (ActorState<Nowhere>(), ActorState<Nowhere>(), ActorState<Nowhere>())
        one.follow(wish(["a"]))
        two.follow(wish(["a"]))
        other.follow(wish(["b"]))
        #expect(one.connection != nil)
        #expect(one.connection === two.connection)
        #expect(one.connection !== other.connection)
    }

    @Test func whatChangesFollowsAnotherConnection() {
        let state = ActorState<Nowhere>()
        state.follow(wish(["c"]))
        let first = state.connection
        state.follow(wish(["c"]))
        #expect(state.connection === first, "the same wish changes nothing")
        state.follow(wish(["d"]))
        #expect(state.connection !== first)
        state.follow(nil)
        #expect(state.connection == nil && state.actor == nil && state.status == .idle)
    }

    @Test func errorsOfTheConnectionAreShown() async throws {
        let state = ActorState<Nowhere>()
        state.follow(wish(["e"]))
        while state.error == nil { await Task.yield() } // refused: there is nobody
        #expect(state.error?.code == .unavailable)
        #expect(!state.isConnected)
    }
}
