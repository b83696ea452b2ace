// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A value that one thread at a time may use. The body must not block and must not
/// enter the same lock again.
package final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    package init(_ value: Value) {
        self.value = value
    }

    package func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}

/// A value that is set once and that any number of tasks may wait for.
package final class OneShot<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var waiters: [CheckedContinuation<Value, Never>] = []
    }

    private let state = Locked(State())

    package init() {}

    package var isResolved: Bool { state.withLock { $0.value != nil } }

    /// Sets the value. The first one counts; reports whether this was it.
    @discardableResult
    package func resolve(_ value: Value) -> Bool {
        let waiters: [CheckedContinuation<Value, Never>]? = state.withLock { state in
            guard state.value == nil else { return nil }
            state.value = value
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters ?? [] {
            waiter.resume(returning: value)
        }
        return waiters != nil
    }

    /// Waits for the value. Whoever resolves it ends the wait: cancellation does not.
    package func get() async -> Value {
        await withCheckedContinuation { continuation in
            let value: Value? = state.withLock { state in
                if state.value == nil {
                    state.waiters.append(continuation)
                }
                return state.value
            }
            if let value {
                continuation.resume(returning: value)
            }
        }
    }
}
