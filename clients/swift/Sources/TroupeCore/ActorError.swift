// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The class of an error, as Connect and gRPC have them.
public enum Code: String, CaseIterable, Hashable, Sendable {
    case canceled
    case unknown
    case invalidArgument = "invalid_argument"
    case deadlineExceeded = "deadline_exceeded"
    case notFound = "not_found"
    case alreadyExists = "already_exists"
    case permissionDenied = "permission_denied"
    case resourceExhausted = "resource_exhausted"
    case failedPrecondition = "failed_precondition"
    case aborted
    case outOfRange = "out_of_range"
    case unimplemented
    case `internal`
    case unavailable
    case dataLoss = "data_loss"
    case unauthenticated
}

/// What became of a failed action's effects on the actor.
public enum Outcome: String, Hashable, Sendable {
    /// There are none, and there will be none.
    case notExecuted = "not_executed"
    /// They are durable; only the reply is missing.
    case committed
    /// Nobody can say.
    case unknown
}

/// One rule of the schema that a request broke.
public struct Violation: Hashable, Sendable {
    /// The path of the field, such as `members[2].name`; empty for the whole message.
    public let field: String
    /// The rule, such as `string.min_len`.
    public let rule: String
    /// For people.
    public let message: String

    public init(field: String, rule: String, message: String) {
        self.field = field
        self.rule = rule
        self.message = message
    }
}

/// Why a call or a connection failed.
public struct ActorError: Error, Hashable, Sendable {
    /// The class of the error.
    public var code: Code
    /// For people.
    public var message: String
    /// What programs branch on: the author's or the runtime's error code; may be empty.
    public var reason = ""
    /// Who made the reason: the actor's service, "troupe.v1" for the runtime,
    /// "troupe.client" for this package.
    public var domain = ""
    /// Whatever else programs need, from the error's author.
    public var metadata: [String: String] = [:]
    /// What became of the action's effects.
    public var outcome = Outcome.unknown
    /// The rules that the request broke.
    public var violations: [Violation] = []
    /// Finds an internal error in the server's log; may be empty.
    public var correlationID = ""
    /// How long the server asks to wait before another try; nil if it does not ask.
    public var retryAfter: Duration?
    /// Whether the server said it. Otherwise the answer did not arrive, or this
    /// package refused the call.
    public var isRemote = false

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// An error that this package makes itself, before anything was sent.
    package static func client(_ code: Code, _ message: String, reason: String, outcome: Outcome = .notExecuted) -> ActorError {
        var error = ActorError(code, message)
        error.reason = reason
        error.domain = "troupe.client"
        error.outcome = outcome
        return error
    }

    /// Anything thrown, as an ActorError.
    public static func from(_ thrown: any Error) -> ActorError {
        switch thrown {
        case let error as ActorError: return error
        case is CancellationError: return .client(.canceled, "the call was cancelled", reason: "canceled", outcome: .unknown)
        case let error as AddressError: return .client(.invalidArgument, error.description, reason: "bad_address")
        case let error as URLError where error.code == .cancelled:
            return .client(.canceled, "the call was cancelled", reason: "canceled", outcome: .unknown)
        case let error as URLError where error.code == .timedOut: return ActorError(.deadlineExceeded, error.localizedDescription)
        case let error as URLError: return ActorError(.unavailable, error.localizedDescription)
        default: return ActorError(.unknown, String(describing: thrown))
        }
    }

    /// What the last attempt of a call failed with, as the error of the whole call: an
    /// attempt before may have had its effects.
    package var doubted: ActorError {
        var error = self
        error.outcome = outcome == .notExecuted ? .unknown : outcome
        return error
    }
}

extension ActorError: CustomStringConvertible, LocalizedError {
    public var description: String {
        let label = reason.isEmpty ? code.rawValue : "\(code.rawValue): \(reason)"
        return "[\(label)] \(message)"
    }

    public var errorDescription: String? { message.isEmpty ? description : message }
}
