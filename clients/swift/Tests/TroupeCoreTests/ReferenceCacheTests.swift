// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import TroupeCore

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
