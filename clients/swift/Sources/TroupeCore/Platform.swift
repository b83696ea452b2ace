// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Where time comes from.
public protocol TimeSource: Sendable {
    /// The time since some fixed moment. It goes on while the device sleeps.
    func now() -> Duration
    /// Waits, or throws `CancellationError` when the task is cancelled.
    func sleep(for duration: Duration) async throws
}

/// The clock of the device.
public struct SystemTime: TimeSource {
    private static let origin = ContinuousClock.now

    public init() {}

    public func now() -> Duration { Self.origin.duration(to: .now) }

    public func sleep(for duration: Duration) async throws {
        try await Task.sleep(for: duration, clock: .continuous)
    }
}

/// Time and chance. Tests bring their own.
public struct Platform: Sendable {
    public let time: any TimeSource
    /// Evenly spread over [0, 1).
    public let random: @Sendable () -> Double

    public init(time: any TimeSource, random: @escaping @Sendable () -> Double) {
        self.time = time
        self.random = random
    }

    /// The device's own.
    public static let system = Platform(time: SystemTime(), random: { Double.random(in: 0..<1) })

    /// A random part of `limit`.
    package func jitter(_ limit: Duration) -> Duration { limit * random() }
}

/// A ceiling that doubles with every step until it reaches `most`.
package func doubled(_ base: Duration, steps: Int, most: Duration) -> Duration {
    var limit = base
    for _ in 0..<steps {
        guard limit < most else { break }
        limit *= 2
    }
    return min(limit, most)
}
