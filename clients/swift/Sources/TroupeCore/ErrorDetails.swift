// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One detail of an error, as Connect carries it.
public struct ErrorDetail: Hashable, Sendable {
    /// The full name of the message, such as `google.rpc.ErrorInfo`.
    public let type: String
    /// The message, in protobuf's binary encoding.
    public let value: Data

    public init(type: String, value: Data) {
        self.type = type
        self.value = value
    }
}

extension ActorError {
    /// The error that a server sent. A detail that cannot be read is left out: the
    /// error itself matters more.
    public init(remote code: Code, message: String, details: [ErrorDetail]) {
        self.init(code, message)
        isRemote = true
        for detail in details {
            var read = self
            if (try? read.read(detail)) != nil {
                self = read
            }
        }
    }

    private mutating func read(_ detail: ErrorDetail) throws {
        switch detail.type {
        case "google.rpc.ErrorInfo": try readErrorInfo(detail.value)
        case "google.rpc.RetryInfo": try readRetryInfo(detail.value)
        case "troupe.v1.Outcome": try readOutcome(detail.value)
        case "buf.validate.Violations": try readViolations(detail.value)
        default: break
        }
    }

    /// `google.rpc.ErrorInfo`: reason = 1, domain = 2, metadata = 3, a map.
    private mutating func readErrorInfo(_ data: Data) throws {
        var pairs: [String: String] = [:]
        var (reason, domain) = ("", "")
        try ProtobufReader.fields(of: data) { number, field in
            switch number {
            case 1: reason = field.string ?? ""
            case 2: domain = field.string ?? ""
            case 3:
                var (key, value) = ("", "")
                try ProtobufReader.fields(of: field.data ?? Data()) { number, part in
                    switch number {
                    case 1: key = part.string ?? ""
                    case 2: value = part.string ?? ""
                    default: break
                    }
                }
                pairs[key] = value
            default: break
            }
        }
        (self.reason, self.domain, metadata) = (reason, domain, pairs)
    }

    /// `google.rpc.RetryInfo`: retry_delay = 1, a duration.
    private mutating func readRetryInfo(_ data: Data) throws {
        var delay = Duration.zero
        try ProtobufReader.fields(of: data) { number, field in
            if number == 1, let value = field.data {
                delay = try ProtobufReader.duration(value)
            }
        }
        retryAfter = max(.zero, delay)
    }

    /// `troupe.v1.Outcome`: outcome = 1, correlation_id = 2.
    private mutating func readOutcome(_ data: Data) throws {
        var (outcome, id) = (Outcome.unknown, "")
        try ProtobufReader.fields(of: data) { number, field in
            switch number {
            case 1: outcome = field.uint == 1 ? .notExecuted : field.uint == 2 ? .committed : .unknown
            case 2: id = field.string ?? ""
            default: break
            }
        }
        (self.outcome, correlationID) = (outcome, id)
    }

    /// `buf.validate.Violations`: violations = 1.
    private mutating func readViolations(_ data: Data) throws {
        var all: [Violation] = []
        try ProtobufReader.fields(of: data) { number, field in
            if number == 1, let value = field.data {
                all.append(try Violation(value))
            }
        }
        violations = all
    }
}

extension Violation {
    /// `buf.validate.Violation`: rule_id = 2, message = 3, field = 5, a path whose
    /// elements = 1.
    fileprivate init(_ data: Data) throws {
        var (path, rule, text) = ([String](), "", "")
        try ProtobufReader.fields(of: data) { number, field in
            switch number {
            case 2: rule = field.string ?? ""
            case 3: text = field.string ?? ""
            case 5:
                try ProtobufReader.fields(of: field.data ?? Data()) { number, element in
                    if number == 1, let value = element.data {
                        path.append(try Self.pathElement(value))
                    }
                }
            default: break
            }
        }
        self.init(field: path.joined(separator: "."), rule: rule, message: text)
    }

    /// `buf.validate.FieldPathElement`: field_name = 2; index = 6, bool_key = 7,
    /// int_key = 8, uint_key = 9, string_key = 10.
    private static func pathElement(_ data: Data) throws -> String {
        var (name, subscript_) = ("", "")
        try ProtobufReader.fields(of: data) { number, field in
            switch number {
            case 2: name = field.string ?? ""
            case 6, 9: subscript_ = "[\(field.uint ?? 0)]"
            case 7: subscript_ = "[\(field.uint == 1)]"
            case 8: subscript_ = "[\(field.int ?? 0)]"
            case 10: subscript_ = "[\"\(field.string ?? "")\"]"
            default: break
            }
        }
        return name + subscript_
    }
}
