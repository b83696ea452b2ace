// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Shares values between their users: the first one makes the value, and it is
/// disposed of some time after the last one has left, so that a view which goes and
/// comes back finds it again.
public final class ReferenceCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct Entry {
        let value: Value
        var users = 0
        var departures = 0 // tells one disposal from a later one
    }

    private let linger: Duration
    private let platform: Platform
    private let dispose: @Sendable (Value) -> Void
    private let entries = Locked<[Key: Entry]>([:])

    /// Values stay for `linger` without users, then `dispose` is called.
    public init(linger: Duration = .seconds(5), platform: Platform = .system, dispose: @escaping @Sendable (Value) -> Void) {
        self.linger = linger
        self.platform = platform
        self.dispose = dispose
    }

    /// The value of a key, made by `make` if there is none. Every call is paired with one
    /// of ``release(_:)``. `make` must not use the cache.
    public func acquire(_ key: Key, make: () -> Value) -> Value {
        entries.withLock { entries in
            var entry = entries[key] ?? Entry(value: make())
            entry.users += 1
            entries[key] = entry
            return entry.value
        }
    }

    /// One user has left.
    public func release(_ key: Key) {
        let departure = entries.withLock { entries -> Int? in
            guard var entry = entries[key], entry.users > 0 else { return nil }
            entry.users -= 1
            entry.departures += 1
            entries[key] = entry
            return entry.users == 0 ? entry.departures : nil
        }
        guard let departure else { return }
        Task {
            try? await platform.time.sleep(for: linger)
            let value = entries.withLock { entries -> Value? in
                guard let entry = entries[key], entry.users == 0, entry.departures == departure else { return nil }
                entries[key] = nil
                return entry.value
            }
            value.map(dispose)
        }
    }

    /// Calls `body` for every value there is.
    public func forEach(_ body: (Value) -> Void) {
        entries.withLock { Array($0.values) }.forEach { body($0.value) }
    }
}
