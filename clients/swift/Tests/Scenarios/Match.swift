// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import TroupeCore
import TroupeJSON

/// What does not fit.
struct Mismatch: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

extension JSONValue {
    /// What got lacks of everything that this names; nil if it lacks nothing. See the
    /// README of the scenarios.
    func difference(from got: JSONValue?, _ place: String) -> String? {
        switch self {
        case .null, .string(""), .number(0), .bool(false):
            return got.isDefault ? nil : "\(place) should be absent, it is \(got.text)"
        case .array(let items):
            guard let others = got?.array, others.count == items.count else { return "\(place) should be \(text), it is \(got.text)" }
            return zip(items, others).enumerated().lazy.compactMap { $1.0.difference(from: $1.1, "\(place)[\($0)]") }.first
        case .object(let members):
            guard let others = got?.object else { return "\(place) should be an object, it is \(got.text)" }
            return members.lazy.compactMap { $1.difference(from: others[$0], "\(place).\($0)") }.first
        default:
            return self == got ? nil : "\(place) should be \(text), it is \(got.text)"
        }
    }

    /// Throws unless got has everything that this names.
    func check(_ got: JSONValue?, _ place: String) throws {
        if let why = difference(from: got, place) { throw Mismatch(why) }
    }

    var text: String {
        (try? JSONEncoder().encode(self)).map { String(decoding: $0.prefix(500), as: UTF8.self) } ?? "?"
    }
}

extension JSONValue? {
    fileprivate var isDefault: Bool {
        switch self {
        case nil, .null, .string(""), .string("0"), .number(0), .bool(false), .array([]): true
        default: false
        }
    }

    fileprivate var text: String { self?.text ?? "absent" }
}

extension ActorError {
    /// The error as scenarios write it.
    var json: JSONValue {
        .object([
            "code": .string(code.rawValue),
            "reason": .string(reason),
            "domain": .string(domain),
            "message": .string(message),
            "metadata": .object(metadata.mapValues(JSONValue.string)),
            "outcome": .string(outcome.rawValue),
            "violations": .array(violations.map { .object(["field": .string($0.field), "rule": .string($0.rule)]) }),
            "correlated": .bool(!correlationID.isEmpty),
        ])
    }
}
