// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The text form of an actor's key: its segments joined by "/", every byte outside
/// `A-Za-z0-9-._~` percent-encoded, and one "~" put in front of a segment that is
/// empty, "." or ".." or begins with "~". The encoding is injective and survives
/// URLs. The empty key is the empty text.
public enum ActorKey {
    /// Bounds one segment, in UTF-8 bytes.
    public static let maxSegmentBytes = 128
    /// Bounds all segments together, in UTF-8 bytes.
    public static let maxKeyBytes = 1024
    /// Bounds the number of segments.
    public static let maxSegments = 32

    /// The canonical text of a key. Throws ``AddressError`` if it breaks a limit.
    public static func encode(_ segments: [String]) throws -> String {
        try check(segments)
        return segments.map(encode(segment:)).joined(separator: "/")
    }

    /// The inverse of ``encode(_:)``. It takes any valid percent-encoding, canonical
    /// or not, and throws ``AddressError`` for anything else.
    public static func decode(_ text: String) throws -> [String] {
        guard !text.isEmpty else { return [] }
        let parts = text.utf8.split(separator: slash, omittingEmptySubsequences: false)
        guard parts.count <= maxSegments else { throw tooMany(parts.count) }
        let segments = try parts.map { try decode(segment: $0) }
        try check(segments)
        return segments
    }

    private static let slash = UInt8(ascii: "/")
    private static let percent = UInt8(ascii: "%")
    private static let tilde = UInt8(ascii: "~")
    private static let hexDigits = Array("0123456789ABCDEF".utf8)

    private static func encode(segment: String) -> String {
        var bytes: [UInt8] = needsTilde(segment) ? [tilde] : []
        for byte in segment.utf8 {
            if isUnreserved(byte) {
                bytes.append(byte)
            } else {
                bytes += [percent, hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func decode(segment part: Substring.UTF8View) throws -> String {
        guard let first = part.first else {
            throw AddressError("a key segment is empty; an empty segment is written ~")
        }
        let marked = first == tilde
        var bytes: [UInt8] = []
        var rest = marked ? part.dropFirst() : part[...]
        while let byte = rest.popFirst() {
            if byte == percent {
                guard let high = rest.popFirst().flatMap(hexValue), let low = rest.popFirst().flatMap(hexValue) else {
                    throw AddressError("a key segment has a % that two hexadecimal digits do not follow")
                }
                bytes.append(high << 4 | low)
            } else if isUnreserved(byte) {
                bytes.append(byte)
            } else {
                throw AddressError("a key segment has a character that must be percent-encoded")
            }
        }
        guard let segment = String(validating: bytes, as: UTF8.self) else {
            throw AddressError("a key segment is not UTF-8")
        }
        guard marked == needsTilde(segment) else {
            throw AddressError(marked ? "a key segment begins with a needless ~" : "a key segment must be written with one ~ in front")
        }
        return segment
    }

    private static func check(_ segments: [String]) throws {
        guard segments.count <= maxSegments else { throw tooMany(segments.count) }
        var total = 0
        for (index, segment) in segments.enumerated() {
            let size = segment.utf8.count
            guard size <= maxSegmentBytes else {
                throw AddressError("a key segment has at most \(maxSegmentBytes) bytes, segment \(index) has \(size)")
            }
            guard !segment.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
                throw AddressError("key segment \(index) has a control character")
            }
            total += size
        }
        guard total <= maxKeyBytes else {
            throw AddressError("a key has at most \(maxKeyBytes) bytes, this one has \(total)")
        }
    }

    private static func tooMany(_ count: Int) -> AddressError {
        AddressError("a key has at most \(maxSegments) segments, this one has \(count)")
    }

    private static func needsTilde(_ segment: String) -> Bool {
        // Bytes are compared: Swift's own equality would take combined characters together.
        segment.isEmpty || segment.utf8.elementsEqual(".".utf8) || segment.utf8.elementsEqual("..".utf8) || segment.utf8.first == tilde
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), tilde:
            return true
        default:
            return false
        }
    }

    private static func hexValue(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): return digit - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): return digit - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): return digit - UInt8(ascii: "a") + 10
        default: return nil
        }
    }
}

/// An address that cannot be: a key over its limits, a malformed namespace or id. It
/// is the caller's mistake and nothing was sent.
public struct AddressError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    package init(_ description: String) {
        self.description = description
    }
}
