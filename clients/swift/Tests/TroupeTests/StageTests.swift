// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Connect
import Foundation
import Schemas
import Testing
import Troupe
import TroupeCore

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

extension Stage_V1_StageClient: SubscribableClient {
    public func subscribe(headers: Headers) -> any ServerOnlyAsyncStreamInterface<Stage_V1_WatchRequest, Stage_V1_StageEvent> {
        watch(headers: headers)
    }
}

/// A server of its own, of the scenarios' server at TROUPE_CONTROL.
private struct Run {
    private struct Made: Decodable {
        let id: String
        let url: URL
    }

    static let control = ProcessInfo.processInfo.environment["TROUPE_CONTROL"].flatMap(URL.init)

    private let run: URL
    let url: URL

    init() async throws {
        let control = try #require(Self.control)
        let made = try JSONDecoder().decode(Made.self, from: try await Self.post(control.appendingPathComponent("runs"), Data("{}".utf8)))
        (run, url) = (control.appendingPathComponent("runs/\(made.id)"), made.url)
    }

    func act(_ act: String) async throws { _ = try await Self.post(run.appendingPathComponent(act), nil) }

    private static func post(_ url: URL, _ body: Data?) async throws -> Data {
        var request = URLRequest(url: url)
        request.httpMethod = "POST"
        request.httpBody = body
        return try await URLSession.shared.data(for: request).0
    }
}

/// Generated code over the adapter, against a real server, over each protocol and codec.
@Suite(.timeLimit(.minutes(5)), .enabled(if: Run.control != nil, "needs a server: run scripts/test-swift")) struct StageTests {
    enum Wire: String, CaseIterable, Sendable {
        case connect, connectJSON, grpcWeb

        var options: ActorClient.Options {
            var options = ActorClient.Options()
            switch self {
            case .connect: break
            case .connectJSON: options.codec = JSONCodec()
            case .grpcWeb: options.networkProtocol = .grpcWeb
            }
            return options
        }
    }

    @Test(arguments: Wire.allCases) func unaryCalls(_ wire: Wire) async throws {
        let run = try await Run()
        let actors = ActorClient(baseURL: run.url, options: wire.options)
        let stage = Stage_V1_StageClient(client: actors.getOrCreate(["a/b", "é"], input: Stage_V1_StageInput.with { $0.total = 10 }))
        let first = await stage.add(request: .with { $0.amount = 5 })
        #expect(try first.get().total == 15)
        #expect(first.headers["actor-created"] == ["true"])
        #expect(try await stage.look(request: .init()).get().key == ["a/b", "é"])
        let params = Stage_V1_WatchRequest.with { $0.user = "ada" }
        let outside = Stage_V1_StageClient(client: actors.get(["a/b", "é"], params: params))
        #expect(try await outside.look(request: .init()).get().user == "ada")
    }

    @Test(arguments: Wire.allCases) func errors(_ wire: Wire) async throws {
        let run = try await Run()
        let actors = ActorClient(baseURL: run.url, options: wire.options)
        let stage = Stage_V1_StageClient(client: actors.getOrCreate(["errors"]))
        let failed = await stage.fail(request: .with { request in
            request.code = "failed_precondition"
            request.reason = "too_late"
            request.message = "come tomorrow"
            request.metadata = ["day": "2"]
        })
        let error = ActorError(try #require(failed.error))
        #expect(error.code == .failedPrecondition && error.reason == "too_late" && error.domain == "stage.v1.Stage")
        #expect(error.message == "come tomorrow" && error.metadata == ["day": "2"] && error.outcome == .notExecuted)
        let violation = ActorError(try #require(await stage.add(request: .init()).error))
        #expect(violation.violations.map(\.field) == ["amount"] && violation.violations.map(\.rule) == ["int32.not_in"])
        let absent = ActorError(try #require(await Stage_V1_StageClient(client: actors.get(["absent"])).look(request: .init()).error))
        #expect(absent.code == .notFound && absent.reason == "actor_not_found")
        let long = Stage_V1_StageClient(client: actors.getOrCreate([String(repeating: "x", count: 129)]))
        #expect(await long.look(request: .init()).error?.code == .invalidArgument)
    }

    @Test(arguments: Wire.allCases) func aConnectionResumesWithTypedEvents(_ wire: Wire) async throws {
        let run = try await Run()
        let actors = ActorClient(baseURL: run.url, options: wire.options)
        let connection = ActorConnection<Stage_V1_StageClient>(actors.getOrCreate(["c"]), params: .with { $0.user = "ada" })
        var events = connection.events().makeAsyncIterator()
        guard case .opened(let info)? = try await events.next() else { Issue.record("not opened"); return }
        #expect(!info.resumed && info.gap == nil)
        let who = try await connection.actor.look(request: .init()).get()
        #expect(who.user == "ada" && who.connected && who.connections == 1)
        for number in Int32(1)...3 {
            try await run.act("cut")
            let publish = Stage_V1_PublishRequest.with { request in
                request.batches = [.with { batch in
                    batch.event = "noted"
                    batch.from = number
                }]
            }
            _ = try await connection.actor.publish(request: publish).get()
            var seen: Int32?
            while seen == nil {
                switch try await events.next() {
                case .event(let event, let info):
                    guard case .noted(let mark)? = event.event else { continue }
                    seen = mark.n
                    #expect(!info.cursor.isEmpty)
                case .opened(let info): #expect(info.resumed && info.reconnected && info.gap == nil)
                case nil: Issue.record("the loop ended"); return
                }
            }
            #expect(seen == number)
        }
        connection.close()
        while try await events.next() != nil {}
    }

    @Test(arguments: Wire.allCases) func aStreamingAction(_ wire: Wire) async throws {
        let run = try await Run()
        let actors = ActorClient(baseURL: run.url, options: wire.options)
        let stream = Stage_V1_StageClient(client: actors.getOrCreate(["s"])).count()
        try stream.send(.with { request in
            request.from = 1
            request.count = 3
            request.fail = "enough"
        })
        var numbers: [Int32] = []
        var error: ActorError?
        for await result in stream.results() {
            switch result {
            case .message(let message): numbers.append(message.n)
            case .complete(_, let thrown as ConnectError, _): error = ActorError(thrown)
            default: break
            }
        }
        #expect(numbers == [1, 2, 3])
        #expect(error?.reason == "enough")
    }

    @Test func theLifecycleAPI() async throws {
        let run = try await Run()
        let actors = ActorClient(baseURL: run.url)
        _ = try await Stage_V1_StageClient(client: actors.getOrCreate(["l"])).add(request: .with { $0.amount = 1 }).get()
        let lifecycle = Troupe_V1_ActorServiceClient(client: actors.services)
        let address = Troupe_V1_Address.with { address in
            address.type = "stage.v1.Stage"
            address.key = ["l"]
        }
        let id = try await lifecycle.resolve(request: .with { $0.address = address }).get().id
        #expect(try await Stage_V1_StageClient(client: actors.forID(id)).look(request: .init()).get().total == 1)
        #expect(try await lifecycle.destroy(request: .with { $0.address = address }).get().id == id)
        let gone = await Stage_V1_StageClient(client: actors.forID(id)).look(request: .init())
        #expect(gone.error?.code == .notFound)
    }
}
