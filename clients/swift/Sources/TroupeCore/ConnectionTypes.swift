// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One message of a subscription's stream.
public struct Frame<Event: Sendable>: Sendable {
    /// What the event says of itself and of the stream.
    public let info: EventInfo
    /// The message. Nil if this program's schema does not know the event.
    public let event: Event?

    public init(info: EventInfo, event: Event?) {
        self.info = info
        self.event = event
    }
}

/// What the consumer of a connection gets, in this order: see ``Connection/events()``.
public enum Delivery<Event: Sendable>: Sendable {
    /// A stream is open: the first one, or the next one after a break. Only if
    /// ``OpenInfo/gap`` is set, events were missed.
    case opened(OpenInfo)
    /// Something happened.
    case event(Event, EventInfo)
}

/// What is known about a stream that has opened.
public struct OpenInfo: Hashable, Sendable {
    public let connectionID: String
    /// The actor's incarnation.
    public let actorID: String
    /// Whether the stream goes on where the last one ended, or at the cursor given.
    public let resumed: Bool
    /// Whether the connection was open before.
    public let reconnected: Bool
    /// Set if events were missed for good: read the actor's state anew. The stream is
    /// open, so what is read now is followed by every event after it.
    public let gap: Gap?
}

/// Events that a connection has missed: the actor no longer has them, or is another
/// one.
public struct Gap: Hashable, Sendable {
    /// The last cursor before the gap.
    public let cursor: String
    /// What the server said; nil if it only went on from another place.
    public let error: ActorError?
}

/// Where a connection stands.
public enum ConnectionStatus: Hashable, Sendable {
    /// Nobody has used it yet: see ``Connection``.
    case idle
    /// A stream is being opened.
    case connecting
    /// Events flow.
    case connected(OpenInfo)
    /// The last stream ended, and the next one is due after this wait.
    case waiting(Duration, ActorError?)
    /// It is over.
    case closed(CloseInfo)

    public var isConnected: Bool { if case .connected = self { true } else { false } }
}

/// Why a connection is over.
public struct CloseInfo: Hashable, Sendable {
    public enum Reason: Hashable, Sendable {
        /// By this program.
        case disposed
        /// Another attempt would only meet the same error.
        case error
        /// The server's reason.
        case server(CloseReason)
    }

    public let reason: Reason
    /// For people; may be empty.
    public let message: String
    /// Why, as the actor's author put it for programs; may be empty.
    public let code: String
    /// Nil if this program closed the connection.
    public let error: ActorError?

    init(reason: Reason, message: String = "", code: String = "", error: ActorError? = nil) {
        self.reason = reason
        self.message = message
        self.code = code
        self.error = error
    }

    /// What a closing frame that asks for no reconnect says.
    init(_ closing: EventInfo.Closing) {
        let name = closing.reason.rawValue.dropFirst("CLOSE_REASON_".count).lowercased()
        let text = closing.message.isEmpty ? "the server closed the connection: \(name)" : closing.message
        let code: Code = closing.reason == .destroyed ? .notFound : .failedPrecondition
        self.init(reason: .server(closing.reason), message: closing.message, code: closing.code,
                  error: .client(code, text, reason: "connection_\(name)"))
    }
}

/// How a connection behaves.
public struct ConnectionOptions: Hashable, Sendable {
    /// Where to begin: the cursor of an event, or the `actor-cursor` metadata of a
    /// reply. Nil: now.
    public var cursor: String?
    /// The names of the events wanted, as the schema's union has them. Empty: all.
    public var events: [String]
    /// Whether a stream resumes after the last event seen, so that a reconnect misses
    /// nothing. Otherwise each starts afresh.
    public var resumes: Bool
    /// The most deliveries that a consumer may lag behind.
    public var buffer: Int

    public init(cursor: String? = nil, events: [String] = [], resumes: Bool = true, buffer: Int = 1024) {
        self.cursor = cursor
        self.events = events
        self.resumes = resumes
        self.buffer = buffer
    }
}
