// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What the first field of every event says: `troupe.v1.EventInfo`.
public struct EventInfo: Hashable, Sendable {
    /// Where a subscriber that has seen this frame resumes. Opaque.
    public var cursor = ""
    /// When the turn that published the event ran, by its server's clock.
    public var time: Date?
    /// The number of the actor's newest durable event, 0 before the first.
    public var head: UInt64 = 0
    /// Set on frames that speak of the stream itself and carry no event.
    public var control: Control?

    public enum Control: Hashable, Sendable {
        case opened(Opened)
        case heartbeat
        case closing(Closing)
    }

    /// The first frame of every stream.
    public struct Opened: Hashable, Sendable {
        public var connectionID = ""
        /// The value for the `actor-conn` metadata of calls made by this connection.
        public var connection = ""
        /// The actor's incarnation.
        public var actorID = ""
        /// Whether the stream goes on from the cursor.
        public var resumed = false
        /// The longest silence to expect; zero if the server does not say.
        public var heartbeatInterval = Duration.zero

        public init() {}
    }

    /// The last frame of a stream that the server ends on purpose.
    public struct Closing: Hashable, Sendable {
        public var reason = CloseReason.unspecified
        /// For people; may be empty.
        public var message = ""
        /// Why, for programs, if the actor ended the connection; may be empty.
        public var code = ""
        /// How long to wait before connecting again; nil: do not.
        public var reconnectAfter: Duration?

        public init() {}
    }

    public init() {}
}

/// Why a server ended a stream.
public enum CloseReason: String, CaseIterable, Hashable, Sendable {
    /// Unknown to this client.
    case unspecified = "CLOSE_REASON_UNSPECIFIED"
    /// The server stops or hands the actor over.
    case shutdown = "CLOSE_REASON_SHUTDOWN"
    /// This subscriber did not read fast enough.
    case slow = "CLOSE_REASON_SLOW"
    /// The actor was destroyed.
    case destroyed = "CLOSE_REASON_DESTROYED"
    /// The actor ended the connection.
    case disconnected = "CLOSE_REASON_DISCONNECTED"
    /// The stream reached its maximum age.
    case expired = "CLOSE_REASON_EXPIRED"
    /// The actor was read from its store again.
    case restarted = "CLOSE_REASON_RESTARTED"

    /// The reason with a number of the schema.
    init(number: UInt64) {
        let all = CloseReason.allCases // in the order of the schema
        self = number < UInt64(all.count) ? all[Int(number)] : .unspecified
    }
}

extension EventInfo {
    /// Reads the message in protobuf's binary encoding.
    public init(protobuf data: Data) throws {
        try ProtobufReader.fields(of: data) { number, field in
            let data = field.data ?? Data()
            switch number {
            case 1: cursor = field.string ?? ""
            case 2:
                let sinceEpoch = try ProtobufReader.duration(data) // a Timestamp has the same fields
                time = Date(timeIntervalSince1970: sinceEpoch / .seconds(1))
            case 3: head = field.uint ?? 0
            case 4: control = .opened(try Opened(protobuf: data))
            case 5: control = .heartbeat
            case 6: control = .closing(try Closing(protobuf: data))
            default: break
            }
        }
    }
}

extension EventInfo.Opened {
    fileprivate init(protobuf data: Data) throws {
        try ProtobufReader.fields(of: data) { number, field in
            switch number {
            case 1: connectionID = field.string ?? ""
            case 2: connection = field.string ?? ""
            case 3: actorID = field.string ?? ""
            case 4: resumed = field.uint == 1
            case 5: heartbeatInterval = try ProtobufReader.duration(field.data ?? Data())
            default: break
            }
        }
    }
}

extension EventInfo.Closing {
    fileprivate init(protobuf data: Data) throws {
        try ProtobufReader.fields(of: data) { number, field in
            switch number {
            case 1: reason = CloseReason(number: field.uint ?? 0)
            case 2: message = field.string ?? ""
            case 3: reconnectAfter = try ProtobufReader.duration(field.data ?? Data())
            case 4: code = field.string ?? ""
            default: break
            }
        }
    }
}
