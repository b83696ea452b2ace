// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The parts of the Connect protocol that a client reads itself when no Connect
/// library is at hand: errors, envelopes and the end of a stream.
public enum ConnectWire {
    /// The error in a unary answer that is not 200, or, with nothing readable in it,
    /// what its HTTP status stands for.
    public static func error(status: Int, body: Data) -> ActorError {
        let code: Code =
            switch status {
            case 400: .internal
            case 401: .unauthenticated
            case 403: .permissionDenied
            case 404: .unimplemented
            case 429, 502, 503, 504: .unavailable
            default: .unknown
            }
        guard let wire = try? JSONDecoder().decode(WireError.self, from: body) else {
            var error = ActorError(code, "the server answered with HTTP status \(status)")
            error.isRemote = true
            return error
        }
        return wire.error(default: code)
    }

    /// What ends a stream: nil if it ended well. `frame` is the content of the
    /// envelope with ``Envelope/isEndOfStream``.
    public static func endOfStream(_ frame: Data) throws -> ActorError? {
        do {
            return try JSONDecoder().decode(EndOfStream.self, from: frame).error?.error(default: .unknown)
        } catch {
            throw ActorError(.internal, "the stream's last frame cannot be read")
        }
    }

    /// The largest message that is taken from a stream, in bytes.
    public static let maxMessageBytes = 4 << 20
}

private struct WireError: Decodable {
    struct Detail: Decodable {
        let type: String?
        let value: String?
    }

    let code: String?
    let message: String?
    let details: [Detail]?

    func error(default code: Code) -> ActorError {
        let known = self.code.flatMap(Code.init(rawValue:)) ?? code
        let details = (details ?? []).compactMap { detail -> ErrorDetail? in
            guard let type = detail.type, let value = Data(unpadded: detail.value ?? "") else { return nil }
            return ErrorDetail(type: type, value: value)
        }
        return ActorError(remote: known, message: message ?? "", details: details)
    }
}

private struct EndOfStream: Decodable {
    let error: WireError?
}

extension Data {
    /// Base64, padded or not.
    package init?(unpadded text: String) {
        let bare = text.trimmingCharacters(in: CharacterSet(charactersIn: "="))
        self.init(base64Encoded: bare + String(repeating: "=", count: (4 - bare.utf8.count % 4) % 4))
    }
}

/// One message of a stream, with its flags.
public struct Envelope: Hashable, Sendable {
    public let flags: UInt8
    public let content: Data

    public var isCompressed: Bool { flags & 1 != 0 }
    public var isEndOfStream: Bool { flags & 2 != 0 }

    public init(flags: UInt8 = 0, content: Data) {
        self.flags = flags
        self.content = content
    }

    /// The envelope as it is sent: the flags, four bytes of length, the content.
    public func encoded() -> Data {
        let length = UInt32(content.count)
        return Data([flags, UInt8(truncatingIfNeeded: length >> 24), UInt8(truncatingIfNeeded: length >> 16),
                     UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length)]) + content
    }
}

/// Cuts the bytes of a stream into envelopes, however they arrive.
public struct EnvelopeDecoder: Sendable {
    private var buffer = Data()

    public init() {}

    /// Whether an envelope has begun and not ended.
    public var isInside: Bool { !buffer.isEmpty }

    public mutating func append(_ data: Data) {
        buffer.append(data)
    }

    /// The next whole envelope, or nil if more bytes are needed. Throws ``ActorError``
    /// for a message that is too large.
    public mutating func next() throws -> Envelope? {
        guard buffer.count >= 5 else { return nil }
        let head = [UInt8](buffer.prefix(5))
        let length = head[1...].reduce(0) { $0 << 8 | Int($1) }
        guard length <= ConnectWire.maxMessageBytes else {
            throw ActorError(.resourceExhausted, "a message has \(length) bytes, of at most \(ConnectWire.maxMessageBytes)")
        }
        guard buffer.count >= 5 + length else { return nil }
        let content = Data(buffer.dropFirst(5).prefix(length))
        buffer = Data(buffer.dropFirst(5 + length)) // indices begin at zero again
        return Envelope(flags: head[0], content: content)
    }
}
