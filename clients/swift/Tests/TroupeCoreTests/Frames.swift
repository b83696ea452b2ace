// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

@testable import TroupeCore

func openedInfo(_ cursor: String = "c0", connection: String = "n1.secret", resumed: Bool = false, heartbeat: Duration = .seconds(15)) -> EventInfo {
    var opened = EventInfo.Opened()
    opened.connectionID = String(connection.prefix { $0 != "." })
    opened.connection = connection
    opened.actorID = "a1"
    opened.resumed = resumed
    opened.heartbeatInterval = heartbeat
    return info(cursor, .opened(opened))
}

func closingInfo(_ reason: CloseReason, after: Duration?, cursor: String = "") -> EventInfo {
    var closing = EventInfo.Closing()
    closing.reason = reason
    closing.reconnectAfter = after
    return info(cursor, .closing(closing))
}

func info(_ cursor: String, _ control: EventInfo.Control? = nil) -> EventInfo {
    var info = EventInfo()
    info.cursor = cursor
    info.control = control
    return info
}

/// An error as a server sends it.
func remote(_ code: Code, outcome: Outcome = .unknown, retryAfter: Duration? = nil, reason: String = "", domain: String = "troupe.v1") -> ActorError {
    var error = ActorError(code, "no")
    (error.isRemote, error.outcome, error.retryAfter, error.reason, error.domain) = (true, outcome, retryAfter, reason, domain)
    return error
}

/// Writes the protobuf messages that tests read.
struct ProtobufWriter {
    private(set) var data = Data()

    mutating func varint(_ number: Int, _ value: UInt64) {
        tag(number, 0)
        raw(value)
    }

    mutating func bytes(_ number: Int, _ value: Data) {
        tag(number, 2)
        raw(UInt64(value.count))
        data.append(value)
    }

    mutating func string(_ number: Int, _ value: String) { bytes(number, Data(value.utf8)) }

    mutating func message(_ number: Int, _ build: (inout ProtobufWriter) -> Void) { bytes(number, Self.build(build)) }

    static func build(_ build: (inout ProtobufWriter) -> Void) -> Data {
        var writer = ProtobufWriter()
        build(&writer)
        return writer.data
    }

    private mutating func tag(_ number: Int, _ type: UInt64) { raw(UInt64(number) << 3 | type) }

    private mutating func raw(_ value: UInt64) {
        var rest = value
        while rest > 0x7f {
            data.append(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        data.append(UInt8(rest))
    }
}
