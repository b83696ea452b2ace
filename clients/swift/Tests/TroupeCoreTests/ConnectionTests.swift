// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import TroupeCore

@Suite(.timeLimit(.minutes(1))) struct ConnectionTests {
    private let look = Method(service: "s", name: "Look", idempotency: .noSideEffects)

    @Test func itBeginsWithItsFirstUse() async throws {
        let bench = Bench(ConnectionOptions(events: ["noted", "rung"]))
        #expect(bench.connection.status == .idle)
        let events = Deliveries(bench.connection)
        let stream = await bench.streams.next()
        #expect(stream.headers == ["actor-events": "noted,rung"])
        stream.send(openedInfo())
        stream.send(info("c1"), "one")
        stream.send(info("c1", .heartbeat))
        stream.send(info("c2"), nil) // of a newer schema
        stream.send(info("c3"), "two")
        #expect(try await events.next(3) == ["open", "one", "two"])
        #expect(bench.connection.status.isConnected)
        bench.connection.close()
        #expect(try await events.next() == nil)
        #expect(bench.connection.status == .closed(CloseInfo(reason: .disposed)))
    }

    @Test func itResumesAfterABreak() async throws {
        let bench = Bench()
        let events = Deliveries(bench.connection)
        let first = await bench.streams.next()
        first.send(openedInfo("c0"))
        first.send(info("c1"), "one")
        #expect(try await events.next(2) == ["open", "one"])
        first.frames.finish(throwing: ActorError(.unavailable, "cut"))
        await bench.waiting()
        bench.time.advance(by: .milliseconds(250))
        let second = await bench.streams.next()
        #expect(second.headers == ["actor-resume": "c1"])
        second.send(openedInfo("c1", resumed: true))
        second.send(info("c2"), "two")
        #expect(try await events.next(2) == ["resumed", "two"])
        first.send(info("c9"), "of a stream that is over")
        second.send(info("c3"), "three")
        #expect(try await events.next() == "three")
        bench.connection.close()
    }

    @Test func aGapIsToldWhenTheNextStreamIsOpen() async throws {
        let bench = Bench(ConnectionOptions(cursor: "old"))
        let events = Deliveries(bench.connection)
        let refused = await bench.streams.next()
        #expect(refused.headers == ["actor-resume": "old"])
        refused.frames.finish(throwing: remote(.outOfRange))
        let second = await bench.streams.next() // at once: no time has passed
        #expect(second.headers == [:])
        second.send(openedInfo("d0"))
        second.send(info("d1"), "one")
        #expect(try await events.next(2) == ["open+gap", "one"])
        bench.connection.close()
    }

    @Test func aSilentStreamIsCut() async throws {
        let bench = Bench()
        let events = Deliveries(bench.connection)
        let errors = Reader(bench.connection.errors())
        let first = await bench.streams.next()
        first.send(openedInfo(heartbeat: .seconds(10)))
        #expect(try await events.next() == "open")
        await bench.time.sleepers(1) // the watchdog
        bench.time.advance(by: .seconds(20))
        first.send(info("c1"), "one")
        #expect(try await events.next() == "one")
        await bench.time.sleepers(1)
        bench.time.advance(by: .milliseconds(24_999))
        await bench.time.sleepers(1)
        #expect(bench.connection.status.isConnected)
        bench.time.advance(by: .milliseconds(1)) // two and a half intervals
        #expect(await errors.next()?.reason == "heartbeat_missed")
        await bench.waiting()
        bench.time.advance(by: .seconds(1))
        let second = await bench.streams.next()
        #expect(second.headers == ["actor-resume": "c1"])
        bench.connection.close()
    }

    @Test func aServerThatNeverAnswersIsLeft() async throws {
        let bench = Bench()
        bench.connection.open()
        let errors = Reader(bench.connection.errors())
        _ = await bench.streams.next()
        await bench.time.sleepers(1)
        bench.time.advance(by: .seconds(30))
        #expect(await errors.next()?.reason == "heartbeat_missed")
        bench.connection.close()
    }

    @Test func aFinalErrorEndsItForEverybody() async throws {
        let bench = Bench()
        let events = Deliveries(bench.connection)
        let statuses = Reader(bench.connection.statuses())
        let call = Task { try await bench.connection.call(look) { _, _ in "never" } }
        let refusal = remote(.permissionDenied, reason: "token_refused")
        await bench.streams.next().frames.finish(throwing: refusal)
        await #expect(throws: refusal) { try await events.next() }
        guard case .failure(let error) = await call.result else { Issue.record("the call succeeded"); return }
        #expect(ActorError.from(error).code == .permissionDenied)
        #expect(ActorError.from(error).outcome == .notExecuted)
        var last: ConnectionStatus?
        while let status = await statuses.next() { last = status }
        #expect(last == .closed(CloseInfo(reason: .error, message: "no", error: refusal)))
        let late = Deliveries(bench.connection)
        await #expect(throws: refusal) { try await late.next() }
    }

    @Test func aServerThatClosesForGoodEndsIt() async throws {
        let bench = Bench()
        let events = Deliveries(bench.connection)
        let stream = await bench.streams.next()
        stream.send(openedInfo())
        stream.send(closingInfo(.destroyed, after: nil))
        #expect(try await events.next() == "open")
        await #expect(throws: ActorError.self) { try await events.next() }
        guard case .closed(let info) = bench.connection.status else { Issue.record("it goes on"); return }
        #expect(info.reason == .server(.destroyed))
        #expect(info.error?.code == .notFound)
    }

    @Test func aConsumerThatLagsBehindGetsWhatIsBufferedAndThenAnError() async throws {
        let bench = Bench(ConnectionOptions(buffer: 3))
        let slow = Deliveries(bench.connection)
        let stream = await bench.streams.next()
        stream.send(openedInfo())
        #expect(try await slow.next() == "open")
        let quick = Deliveries(bench.connection)
        for number in 1...4 {
            stream.send(info("c\(number)"), "\(number)")
            #expect(try await quick.next() == "\(number)")
        }
        #expect(try await slow.next(3) == ["1", "2", "3"])
        await #expect(throws: ActorError.client(.resourceExhausted, "a consumer lags behind by 3 events", reason: "consumer_too_slow")) {
            try await slow.next()
        }
        stream.send(info("c5"), "5")
        #expect(try await quick.next() == "5", "the connection and the others go on")
        bench.connection.close()
    }

    @Test func reconnectNowEndsTheWait() async throws {
        let bench = Bench()
        bench.connection.open()
        await bench.streams.next().frames.finish(throwing: ActorError(.unavailable, "down"))
        await bench.waiting()
        bench.connection.reconnectNow()
        _ = await bench.streams.next()
        bench.connection.close()
    }

    @Test func theForegroundReplacesAStreamThatMayBeDead() async throws {
        let bench = Bench()
        let events = Deliveries(bench.connection)
        let first = await bench.streams.next()
        first.send(openedInfo("c0"))
        #expect(try await events.next() == "open")
        bench.connection.enteredBackground()
        bench.time.advance(by: .seconds(6))
        bench.connection.enteredForeground()
        let second = await bench.streams.next()
        #expect(second.headers == ["actor-resume": "c0"])
        second.send(openedInfo("c0", resumed: true))
        #expect(try await events.next() == "resumed")
        bench.connection.close()
    }

    @Test func leavingALoopEndsItsBuffer() async throws {
        let bench = Bench(ConnectionOptions(buffer: 1))
        let reader = Task {
            for try await delivery in bench.connection.events() {
                if case .event = delivery { break }
            }
        }
        let stream = await bench.streams.next()
        stream.send(openedInfo())
        // The buffer holds one: each is sent when the one before it has been taken.
        let statuses = Reader(bench.connection.statuses())
        while let status = await statuses.next(), !status.isConnected {}
        reader.cancel()
        _ = await reader.result
        let other = Deliveries(bench.connection)
        stream.send(info("c1"), "one")
        #expect(try await other.next() == "one")
        bench.connection.close()
    }
}
