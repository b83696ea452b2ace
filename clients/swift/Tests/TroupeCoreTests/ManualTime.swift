// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

@testable import TroupeCore

/// Time that passes when a test says so.
final class ManualTime: TimeSource {
    private struct Sleeper {
        let due: Duration
        let wake: OneShot<Bool>
    }

    private struct State {
        var now = Duration.zero
        var nextID = 0
        var sleepers: [Int: Sleeper] = [:]
        var watchers: [(count: Int, reached: OneShot<Void>)] = []
    }

    private let state = Locked(State())

    func now() -> Duration { state.withLock { $0.now } }

    /// A sleeper counts from here until it is woken or cancelled, and no longer.
    func sleep(for duration: Duration) async throws {
        let wake = OneShot<Bool>()
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        let woken = await withTaskCancellationHandler {
            let reached = state.withLock { state -> [OneShot<Void>] in
                guard !Task.isCancelled, duration > .zero else {
                    wake.resolve(!Task.isCancelled)
                    return []
                }
                state.sleepers[id] = Sleeper(due: state.now + duration, wake: wake)
                return Self.takeReached(&state)
            }
            reached.forEach { $0.resolve(()) }
            return await wake.get()
        } onCancel: {
            state.withLock { _ = $0.sleepers.removeValue(forKey: id) }
            wake.resolve(false)
        }
        guard woken else { throw CancellationError() }
    }

    /// Waits until so many tasks sleep.
    func sleepers(_ count: Int) async {
        let reached = OneShot<Void>()
        let there = state.withLock { state in
            state.watchers.append((count, reached))
            return Self.takeReached(&state)
        }
        there.forEach { $0.resolve(()) }
        await reached.get()
    }

    /// Lets time pass, and wakes whoever is due.
    func advance(by duration: Duration) {
        let due = state.withLock { state in
            state.now += duration
            let due = state.sleepers.filter { $0.value.due <= state.now }
            due.keys.forEach { state.sleepers[$0] = nil }
            return due.values.sorted { $0.due < $1.due }
        }
        due.forEach { $0.wake.resolve(true) }
    }

    private static func takeReached(_ state: inout State) -> [OneShot<Void>] {
        let awake = state.sleepers.count
        defer { state.watchers.removeAll { $0.count <= awake } }
        return state.watchers.filter { $0.count <= awake }.map(\.reached)
    }
}

extension Platform {
    /// A test's time, and chance that is always the same.
    static func manual(_ time: ManualTime, random: Double = 1) -> Platform {
        Platform(time: time, random: { random })
    }
}
