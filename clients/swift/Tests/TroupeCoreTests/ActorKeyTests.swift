// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import TroupeCore

/// The table that every implementation of the key encoding passes.
private struct KeyTable: Decodable {
    struct Valid: Decodable {
        let segments: [String]
        let text: String
    }
    struct Alternative: Decodable {
        let text: String
        let segments: [String]
    }
    struct InvalidKey: Decodable {
        let why: String
        let segments: [String]
    }
    struct InvalidText: Decodable {
        let why: String
        let text: String
    }

    let valid: [Valid]
    let otherTexts: [Alternative]
    let invalidSegments: [InvalidKey]
    let invalidTexts: [InvalidText]

    static func read() throws -> KeyTable {
        let here = URL(fileURLWithPath: #filePath)
        let file = here.appendingPathComponent("../../../../typescript/test/keys.json").standardizedFileURL
        return try JSONDecoder().decode(KeyTable.self, from: Data(contentsOf: file))
    }
}

@Suite struct ActorKeyTests {
    @Test func theTableOfKeys() throws {
        let table = try KeyTable.read()
        #expect(table.valid.count > 20)
        for row in table.valid {
            #expect(try ActorKey.encode(row.segments) == row.text)
            #expect(try ActorKey.decode(row.text).map { Array($0.utf8) } == row.segments.map { Array($0.utf8) })
        }
    }

    @Test func keysOverALimitAreRefused() throws {
        let table = try KeyTable.read()
        #expect(!table.invalidSegments.isEmpty)
        for row in table.invalidSegments {
            #expect(throws: AddressError.self, "\(row.why)") { try ActorKey.encode(row.segments) }
        }
    }

    @Test func malformedTextsAreRefused() throws {
        let table = try KeyTable.read()
        #expect(!table.invalidTexts.isEmpty)
        for row in table.invalidTexts {
            #expect(throws: AddressError.self, "\(row.why): \(row.text)") { try ActorKey.decode(row.text) }
        }
    }

    @Test func encodingIsInjective() throws {
        var seen: [String: [String]] = [:]
        let parts = ["", ".", "..", "~", "~.", "a", "/", "%2F", "a/b", "%", "é", "e\u{301}"]
        for first in parts {
            for key in [[first]] + parts.map({ [first, $0] }) {
                let text = try ActorKey.encode(key)
                let known = seen.updateValue(key, forKey: text)
                #expect(known == nil, "\(text) stands for \(key) and \(known ?? [])")
                #expect(try ActorKey.decode(text).map { Array($0.utf8) } == key.map { Array($0.utf8) })
            }
        }
    }
}
