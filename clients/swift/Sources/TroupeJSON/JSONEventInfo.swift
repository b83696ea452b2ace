// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import TroupeCore

/// An event's info as protobuf's JSON encoding has it.
struct JSONEventInfo: Decodable {
    struct Opened: Decodable {
        let connectionId: String?
        let connection: String?
        let actorId: String?
        let resumed: Bool?
        let heartbeatInterval: String?
    }

    struct Closing: Decodable {
        let reason: String?
        let message: String?
        let reconnectAfter: String?
        let code: String?
    }

    struct Nothing: Decodable {}

    let cursor: String?
    let time: String?
    let head: String?
    let opened: Opened?
    let heartbeat: Nothing?
    let closing: Closing?

    var info: EventInfo {
        var info = EventInfo()
        info.cursor = cursor ?? ""
        info.time = time.flatMap(Self.date)
        info.head = head.flatMap { UInt64($0) } ?? 0
        if let opened {
            var control = EventInfo.Opened()
            control.connectionID = opened.connectionId ?? ""
            control.connection = opened.connection ?? ""
            control.actorID = opened.actorId ?? ""
            control.resumed = opened.resumed ?? false
            control.heartbeatInterval = opened.heartbeatInterval.flatMap(Self.duration) ?? .zero
            info.control = .opened(control)
        } else if let closing {
            var control = EventInfo.Closing()
            control.reason = closing.reason.flatMap(CloseReason.init(rawValue:)) ?? .unspecified
            control.message = closing.message ?? ""
            control.code = closing.code ?? ""
            control.reconnectAfter = closing.reconnectAfter.flatMap(Self.duration)
            info.control = .closing(control)
        } else if heartbeat != nil {
            info.control = .heartbeat
        }
        return info
    }

    /// A duration such as "1.5s".
    static func duration(_ text: String) -> Duration? {
        guard text.hasSuffix("s"), let seconds = Double(text.dropLast()) else { return nil }
        return .seconds(seconds)
    }

    private static func date(_ text: String) -> Date? {
        (try? Date(text, strategy: .iso8601.year().month().day().timeZone(separator: .omitted).time(includingFractionalSeconds: true)))
            ?? (try? Date(text, strategy: .iso8601))
    }
}
