// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a method's schema says about calling it twice.
public enum Idempotency: Hashable, Sendable {
    /// Its effects may add up.
    case unknown
    /// It has none.
    case noSideEffects
    /// Twice is as once.
    case idempotent
}

/// A method of an actor's service.
public struct Method: Hashable, Sendable {
    /// The full name of the service, such as "chat.v1.ChatRoom".
    public let service: String
    public let name: String
    public let idempotency: Idempotency

    public init(service: String, name: String, idempotency: Idempotency = .unknown) {
        self.service = service
        self.name = name
        self.idempotency = idempotency
    }

    /// "package.Service/Method".
    public var path: String { "\(service)/\(name)" }
}

/// Repeats unary calls where that is safe.
///
/// A call is sent again, at most twice, when its error is `unavailable`, `aborted`, or
/// `resource_exhausted` with a wait that the server asks for, or when its answer was
/// lost on the way; and when a second run does no harm: the server says that the call
/// had no effect and when to try again, or nobody knows whether it had one and the
/// method is declared harmless or the call carries an idempotency key. An error of the
/// actor's author is never repeated.
///
/// Waits have full jitter, begin at 50 ms and are never shorter than what the server
/// asks for; a wait above 5 s or past the call's time limit is not begun. Over time at
/// most a tenth of the calls that share a policy are retries, and ten to begin with.
public final class RetryPolicy: Sendable {
    static let maxAttempts = 3
    static let baseWait = Duration.milliseconds(50) // doubles with each retry
    static let maxWait = Duration.seconds(5)
    static let callsPerRetry = 10 // a call earns a tenth of a retry
    static let maxSavedRetries = 10

    let platform: Platform
    private let enabled: Bool
    /// Tenths of a retry. A call adds one, a retry takes ten.
    private let budget = Locked(maxSavedRetries * callsPerRetry)

    /// With `enabled` false every call is sent once.
    public init(platform: Platform = .system, enabled: Bool = true) {
        self.platform = platform
        self.enabled = enabled
    }

    /// Runs `attempt`, which gets what is left of the time limit, until it succeeds,
    /// fails for good, or the attempts, the budget or the time are used up. `keyed`
    /// says whether the call carries an idempotency key. Throws ``ActorError``.
    public func run<Reply>(
        _ method: Method,
        keyed: Bool,
        timeout: Duration? = nil,
        attempt: (Duration?) async throws -> Reply
    ) async throws -> Reply {
        let started = platform.time.now()
        func left() -> Duration? { timeout.map { max(.milliseconds(1), $0 - (platform.time.now() - started)) } }
        budget.withLock { $0 = min($0 + 1, Self.maxSavedRetries * Self.callsPerRetry) }
        var inDoubt = false // an attempt before may have had its effects
        for number in 1... {
            do {
                return try await attempt(left())
            } catch {
                let error = ActorError.from(error)
                let whole = inDoubt && method.idempotency != .noSideEffects ? error.doubted : error
                guard enabled, number < Self.maxAttempts, !Task.isCancelled, Self.mayRetry(error, method, keyed: keyed) else { throw whole }
                let wait = (error.retryAfter ?? .zero) + platform.jitter(Self.baseWait * (1 << (number - 1)))
                if wait > Self.maxWait { throw whole }
                if let left = left(), wait >= left { throw whole }
                guard spend() else { throw whole }
                inDoubt = inDoubt || error.outcome == .unknown
                do {
                    try await platform.time.sleep(for: wait)
                } catch { // cancelled: what the attempts before did stays in doubt
                    var canceled = ActorError.from(error)
                    canceled.outcome = inDoubt ? .unknown : .notExecuted
                    throw canceled
                }
            }
        }
        preconditionFailure("the attempts are counted")
    }

    private func spend() -> Bool {
        budget.withLock { budget in
            guard budget >= Self.callsPerRetry else { return false }
            budget -= Self.callsPerRetry
            return true
        }
    }

    static func mayRetry(_ error: ActorError, _ method: Method, keyed: Bool) -> Bool {
        let invited = error.retryAfter != nil
        if error.isRemote && error.domain == method.service { return false }
        if method.idempotency == .unknown {
            let refused = error.isRemote && [.resourceExhausted, .unavailable, .aborted].contains(error.code)
            if invited && refused && error.outcome == .notExecuted { return true }
            guard keyed, error.outcome == .unknown else { return false }
        }
        guard error.isRemote else { return error.isLostAnswer }
        switch error.code {
        case .unavailable, .aborted: return true
        case .resourceExhausted: return invited
        default: return false
        }
    }

    /// A key for one call, from 128 random bits. The prefix tells the server that
    /// nobody knows the key but this call.
    package static func newKey() -> String {
        "auto-" + UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased()
    }
}

extension ActorError {
    /// Whether an error that did not come from the server means that its answer never
    /// arrived.
    var isLostAnswer: Bool {
        guard !isRemote, domain != "troupe.client" else { return false }
        return [.unavailable, .unknown, .deadlineExceeded].contains(code)
    }
}
