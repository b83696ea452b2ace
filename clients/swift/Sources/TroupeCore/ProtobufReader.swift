// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Reads the fields of one protobuf message, one after the other. It knows no schema:
/// whoever reads says what a field is. It is all that error details and event frames
/// need, so that this module depends on nothing.
package struct ProtobufReader {
    package enum Field {
        case varint(UInt64)
        case fixed64(UInt64)
        case bytes(Data)
        case fixed32(UInt32)

        package var uint: UInt64? { if case .varint(let value) = self { value } else { nil } }
        package var int: Int64? { uint.map(Int64.init(bitPattern:)) }
        package var data: Data? { if case .bytes(let value) = self { value } else { nil } }
        /// The field as text; malformed UTF-8 is repaired.
        package var string: String? { data.map { String(decoding: $0, as: UTF8.self) } }
    }

    /// What is not a protobuf message.
    package struct Malformed: Error {}

    private var rest: Data

    package init(_ data: Data) {
        rest = data
    }

    /// The next field and its number, or nil at the end.
    package mutating func next() throws -> (number: Int, field: Field)? {
        guard !rest.isEmpty else { return nil }
        let tag = try varint()
        guard let number = Int(exactly: tag >> 3), number > 0 else { throw Malformed() }
        switch tag & 7 {
        case 0: return (number, .varint(try varint()))
        case 1: return (number, .fixed64(try fixed(8)))
        case 2:
            guard let length = Int(exactly: try varint()), length <= rest.count else { throw Malformed() }
            defer { rest = rest.dropFirst(length) }
            return (number, .bytes(rest.prefix(length)))
        case 5: return (number, .fixed32(UInt32(try fixed(4))))
        default: throw Malformed() // groups, which nothing of ours has
        }
    }

    private mutating func varint() throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte = rest.popFirst() else { throw Malformed() }
            value |= UInt64(byte & 0x7f) << shift
            if byte & 0x80 == 0 { return value }
        }
        throw Malformed()
    }

    private mutating func fixed(_ size: Int) throws -> UInt64 {
        guard rest.count >= size else { throw Malformed() }
        defer { rest = rest.dropFirst(size) }
        return rest.prefix(size).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

extension ProtobufReader {
    /// Calls `read` for every field of a message.
    package static func fields(of data: Data, _ read: (Int, Field) throws -> Void) throws {
        var reader = ProtobufReader(data)
        while let (number, field) = try reader.next() {
            try read(number, field)
        }
    }

    /// A `google.protobuf.Duration`: seconds = 1, nanos = 2.
    package static func duration(_ data: Data) throws -> Duration {
        var seconds: Int64 = 0
        var nanos: Int64 = 0
        try fields(of: data) { number, field in
            switch number {
            case 1: seconds = field.int ?? 0
            case 2: nanos = field.int ?? 0
            default: break
            }
        }
        return .seconds(seconds) + .nanoseconds(nanos)
    }
}
