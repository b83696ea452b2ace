// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import TroupeCore

/// A server for one connection: each stream that it opens is handed to the test.
private final class Streams: Sendable {
    struct Stream: Sendable {
        let headers: [String: String]
        let frames: AsyncThrowingStream<Frame<String>, any Error>.Continuation

        func send(_ info: EventInfo, _ event: String? = nil) {
            frames.yield(Frame(info: info, event: event))
        }
    }

    private let opened = AsyncStream<Stream>.makeStream()

    func open(_ headers: [String: String]) -> AsyncThrowingStream<Frame<String>, any Error> {
        let (stream, frames) = AsyncThrowingStream<Frame<String>, any Error>.makeStream()
        opened.continuation.yield(Stream(headers: headers, frames: frames))
        return stream
    }

    func next() async -> Stream {
        for await stream in opened.stream { return stream }
        fatalError("the streams never end")
    }
}

private struct Bench {
    let time = ManualTime()
    let streams = Streams()
    let connection: Connection<String>

    init(_ options: ConnectionOptions = .init(), random: Double = 1) {
        connection = Connection(options: options, platform: .manual(time, random: random)) { [streams] in streams.open($0) }
    }

    /// Waits until the connection waits for its next stream, and nothing else sleeps.
    func waiting() async {
        for await status in connection.statuses() {
            if case .waiting = status { break }
        }
        await time.sleepers(1)
    }
}

/// Reads deliveries as short texts: "open", "open+gap", "resumed", or the event.
private final class Deliveries {
    private var iterator: AsyncThrowingStream<Delivery<String>, any Error>.Iterator

    init(_ connection: Connection<String>) {
        iterator = connection.events().makeAsyncIterator()
    }

    func next() async throws -> String? {
        switch try await iterator.next() {
        case .event(let event, _): event
        case .opened(let info): info.gap != nil ? "open+gap" : info.resumed ? "resumed" : "open"
        case nil: nil
        }
    }

    func next(_ count: Int) async throws -> [String] {
        var all: [String] = []
        while all.count < count, let one = try await next() { all.append(one) }
        return all
    }
}

/// Reads a stream from inside of expectations, which cannot change a value.
private final class Reader<Element: Sendable> {
    private var iterator: AsyncStream<Element>.Iterator

    init(_ stream: AsyncStream<Element>) {
        iterator = stream.makeAsyncIterator()
    }

    func next() async -> Element? { await iterator.next() }
}

@Suite(.timeLimit(.minutes(1))) struct ConnectionTests {
    private let look = Method(service: "s", name: "Look", idempotency: .noSideEffects)
    private let write = Method(service: "s", name: "Add")

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

@Suite(.timeLimit(.minutes(1))) struct ReferenceCacheTests {
    private final class Log: Sendable {
        let disposed = Locked([String]())
        let signal = AsyncStream<String>.makeStream()
        func dispose(_ value: String) {
            disposed.withLock { $0.append(value) }
            signal.continuation.yield(value)
        }
    }

    @Test func aValueIsSharedAndDisposedOfAfterItsLastUser() async {
        let (time, log) = (ManualTime(), Log())
        let cache = ReferenceCache<String, String>(platform: .manual(time)) { log.dispose($0) }
        #expect(cache.acquire("room") { "first" } == "first")
        #expect(cache.acquire("room") { "second" } == "first")
        cache.release("room")
        cache.release("room")
        await time.sleepers(1)
        time.advance(by: .seconds(5))
        let disposed = Reader(log.signal.stream)
        #expect(await disposed.next() == "first")
        #expect(cache.acquire("room") { "third" } == "third")
        cache.release("room")
        await time.sleepers(1)
        time.advance(by: .seconds(5))
        #expect(await disposed.next() == "third")
    }

    @Test func whoeverComesBackInTimeFindsItAgain() async {
        let (time, log) = (ManualTime(), Log())
        let cache = ReferenceCache<String, String>(platform: .manual(time)) { log.dispose($0) }
        _ = cache.acquire("room") { "first" }
        cache.release("room")
        await time.sleepers(1)
        time.advance(by: .milliseconds(4_999))
        #expect(cache.acquire("room") { "second" } == "first")
        time.advance(by: .milliseconds(1)) // the first disposal is due, and finds a user
        cache.release("room")
        await time.sleepers(1)
        time.advance(by: .milliseconds(4_999))
        #expect(log.disposed.withLock { $0 }.isEmpty)
        time.advance(by: .milliseconds(1))
        let disposed = Reader(log.signal.stream)
        #expect(await disposed.next() == "first")
        #expect(log.disposed.withLock { $0 } == ["first"])
    }

    @Test func keysAreApartAndOneReleaseTooManyDoesNothing() async {
        let (time, log) = (ManualTime(), Log())
        let cache = ReferenceCache<Int, String>(platform: .manual(time)) { log.dispose($0) }
        _ = cache.acquire(1) { "one" }
        _ = cache.acquire(2) { "two" }
        cache.release(3)
        cache.release(2)
        await time.sleepers(1)
        time.advance(by: .seconds(5))
        let disposed = Reader(log.signal.stream)
        #expect(await disposed.next() == "two")
        #expect(cache.acquire(1) { "another" } == "one")
        let seen = Locked([String]())
        cache.forEach { value in seen.withLock { $0.append(value) } }
        #expect(seen.withLock { $0 } == ["one"])
    }
}
