// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import TroupeCore

@Suite(.timeLimit(.minutes(1))) struct ConnectionCallsTests {
    private let look = Method(service: "s", name: "Look", idempotency: .noSideEffects)
    private let write = Method(service: "s", name: "Add")

    @Test func callsWaitForTheStreamAndRunAsIt() async throws {
        let bench = Bench()
        let call = Task { try await bench.connection.call(look) { token, _ in token } }
        let stream = await bench.streams.next()
        stream.send(openedInfo(connection: "n1.secret"))
        #expect(try await call.value == "n1.secret")
        bench.connection.close()
        await #expect(throws: ActorError.self) { try await bench.connection.call(look) { token, _ in token } }
    }

    @Test func aCallWhoseConnectionIsGoneIsMadeAgainOverTheNextOne() async throws {
        let bench = Bench()
        let tokens = Locked([String]())
        let call = Task {
            try await bench.connection.call(write) { token, _ in
                tokens.withLock { $0.append(token) }
                if token == "n1.secret" { throw remote(.failedPrecondition, outcome: .notExecuted, reason: "connection_gone") }
            }
        }
        await bench.streams.next().send(openedInfo(connection: "n1.secret"))
        // The dead stream is cut, and the next one is opened at once.
        let second = await bench.streams.next()
        #expect(second.headers == ["actor-resume": "c0"])
        second.send(openedInfo(connection: "n2.secret", resumed: true))
        try await call.value
        #expect(tokens.withLock { $0 } == ["n1.secret", "n2.secret"])
        bench.connection.close()
    }

    /// A call that waits to be repeated when its stream ends goes on over the next one,
    /// under the same key, and what its first attempt did stays unknown.
    @Test func aRepetitionIsNotSentOverAStreamThatHasEnded() async throws {
        let bench = Bench()
        let retries = RetryPolicy(platform: .manual(bench.time, random: 1))
        let calls = ActorCalls(address: Address(.key(["a"], .getOrCreate)), retries: retries, keys: true, headers: { [:] })
        let sent = Locked([[String: String]]())
        let lost = OneShot<Void>()
        let call = Task {
            try await calls.unary(write, over: bench.connection) { headers, _ in
                sent.withLock { $0.append(headers) }
                lost.resolve(())
                if headers["actor-conn"] == "n1.secret" { throw ActorError(.unavailable, "the connection broke") }
                throw remote(.invalidArgument, outcome: .notExecuted)
            }
        }
        let first = await bench.streams.next()
        first.send(openedInfo(connection: "n1.secret"))
        await lost.get()
        await bench.time.sleepers(2) // the call and the watchdog
        first.frames.finish()
        for await status in bench.connection.statuses() {
            if case .waiting = status { break }
        }
        await bench.time.sleepers(2) // the call and the wait for the next stream
        bench.time.advance(by: .seconds(1))
        await bench.streams.next().send(openedInfo(connection: "n2.secret", resumed: true))
        guard case .failure(let error) = await call.result else { Issue.record("it succeeded"); return }
        #expect(ActorError.from(error).code == .invalidArgument)
        #expect(ActorError.from(error).outcome == .unknown)
        let headers = sent.withLock { $0 }
        #expect(headers.map { $0["actor-conn"] } == ["n1.secret", "n2.secret"])
        #expect(headers.count == 2 && headers[0]["idempotency-key"] != nil && headers[0]["idempotency-key"] == headers[1]["idempotency-key"])
        bench.connection.close()
    }

    @Test func aCallDoesNotWaitForEver() async throws {
        let bench = Bench()
        let patient = Task { try await bench.connection.call(look) { token, _ in token } }
        _ = await bench.streams.next()
        await bench.time.sleepers(2) // the call and the watchdog
        bench.time.advance(by: .seconds(10))
        guard case .failure(let late) = await patient.result else { Issue.record("it succeeded"); return }
        #expect(ActorError.from(late).code == .unavailable)
        #expect(ActorError.from(late).outcome == .notExecuted)
        let hasty = Task { try await bench.connection.call(look, timeout: .seconds(1)) { token, _ in token } }
        await bench.time.sleepers(2)
        bench.time.advance(by: .seconds(1))
        guard case .failure(let error) = await hasty.result else { Issue.record("it succeeded"); return }
        #expect(ActorError.from(error).code == .deadlineExceeded)
        let given = Task { try await bench.connection.call(look) { token, _ in token } }
        await bench.time.sleepers(2)
        given.cancel()
        guard case .failure(let canceled) = await given.result else { Issue.record("it succeeded"); return }
        #expect(ActorError.from(canceled).code == .canceled)
        bench.connection.close()
    }
}
