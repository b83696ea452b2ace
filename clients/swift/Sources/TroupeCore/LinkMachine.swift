// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Decides what a connection does: when it opens a stream, from which cursor, when a
/// silent stream is cut, how long to wait for the next one and when to stop. It has
/// no clock, no network and no chance of its own: whoever drives it tells the time,
/// what came in and what chance says, and it answers. ``Connection`` drives it.
///
/// The life of a connection: idle, then connecting, connected and waiting in turn,
/// and closed in the end.
struct LinkMachine: Sendable {
    enum State: Hashable, Sendable {
        case idle, connecting, connected, waiting, closed
    }

    /// How one stream came to its end.
    enum End: Hashable, Sendable {
        /// An error, or the end of the stream without a closing frame.
        case failed(ActorError)
        /// The server ended it on purpose.
        case closing(EventInfo.Closing)
        /// Nothing came for too long.
        case silent
        /// This side cut it, to open another one at once.
        case cut
    }

    /// What to do after a stream has ended.
    enum Next: Hashable, Sendable {
        /// Open another one after a while.
        case wait(Duration)
        case close(CloseInfo)
    }

    /// What a frame means.
    enum Received: Hashable, Sendable {
        /// The stream is open.
        case opened(OpenInfo)
        /// An event.
        case event
        /// Nothing for the consumer.
        case control
        /// The last frame.
        case closing(EventInfo.Closing)
    }

    static let backoffBase = Duration.milliseconds(250) // doubles with each failure
    static let backoffMax = Duration.seconds(30)
    /// How long a stream must stay open for the back-off to begin anew.
    static let stableAfter = Duration.seconds(10)
    /// Bounds the wait for a stream's first frame.
    static let openTimeout = Duration.seconds(30)
    /// A stream is cut after so many heartbeat intervals without a frame.
    static let missedHeartbeats = 2.5
    /// A stream that was in the background for longer is opened anew: the system may
    /// have taken its socket away without a word.
    static let backgroundGrace = Duration.seconds(5)

    private(set) var state = State.idle
    /// Where the next stream goes on; nil: from now.
    private(set) var cursor: String?
    /// Where the frames of the open stream are expected by; nil: whenever.
    private(set) var silenceLimit: Duration?
    private let resumes: Bool
    private var wasOpen = false
    private var openedAt: Duration?
    private var lastFrame = Duration.zero
    private var backgroundSince: Duration?
    private var allowedSilence: Duration?
    private var resumeFrom: String? // the cursor of the stream under way
    private var lost: Gap? // a cursor that the server refused, told when the next stream is open
    private var failures = 0 // streams that failed in a row without being stable

    init(cursor: String? = nil, resumes: Bool = true) {
        self.cursor = cursor
        self.resumes = resumes
    }

    /// A stream is being opened. Returns the cursor that it goes on from.
    mutating func begin(now: Duration) -> String? {
        state = .connecting
        openedAt = nil
        allowedSilence = Self.openTimeout
        lastFrame = now
        silenceLimit = now + Self.openTimeout
        resumeFrom = wasOpen && !resumes ? nil : cursor
        return resumeFrom
    }

    /// A frame came in.
    mutating func received(_ info: EventInfo, now: Duration) -> Received {
        lastFrame = now
        defer { silenceLimit = allowedSilence.map { now + $0 } }
        if case .closing(let closing) = info.control {
            return .closing(closing) // its cursor may lie behind events that were dropped
        }
        if !info.cursor.isEmpty {
            cursor = info.cursor
        }
        switch info.control {
        case .opened(let opened):
            state = .connected
            openedAt = now
            let silence = opened.heartbeatInterval * Self.missedHeartbeats
            allowedSilence = silence > .zero ? silence : nil
            let missed = resumeFrom.flatMap { opened.resumed ? nil : Gap(cursor: $0, error: nil) }
            let info = OpenInfo(connectionID: opened.connectionID, actorID: opened.actorID, resumed: opened.resumed,
                                reconnected: wasOpen, gap: lost ?? missed)
            lost = nil
            wasOpen = true
            return .opened(info)
        case .heartbeat, .closing: return .control
        case nil: return .event
        }
    }

    /// The stream has ended. `random` is evenly spread over [0, 1).
    mutating func ended(_ end: End, now: Duration, random: Double) -> Next {
        let opened = openedAt != nil
        let stable = openedAt.map { now - $0 >= Self.stableAfter } ?? false
        silenceLimit = nil
        openedAt = nil
        if stable {
            failures = 0
        }
        switch end {
        case .cut:
            failures = 0
            return wait(.zero)
        case .silent:
            return wait(backoff(random))
        case .closing(let closing):
            guard let asked = closing.reconnectAfter else { return close(CloseInfo(closing)) }
            // A server that closes at once, again and again, meets the back-off.
            return wait(max(.zero, asked) + (stable ? Self.backoffBase * random : backoff(random)))
        case .failed(let error):
            if let resumeFrom, error.code == .outOfRange {
                cursor = nil
                lost = Gap(cursor: resumeFrom, error: error)
                return wait(opened ? backoff(random) : .zero) // it is the cursor alone that was refused
            }
            if Self.isFinal(error, opened: opened) {
                return close(CloseInfo(reason: .error, message: error.message, error: error))
            }
            return wait((error.retryAfter ?? .zero) + backoff(random))
        }
    }

    /// The connection is closed by this side.
    mutating func close() {
        state = .closed
        silenceLimit = nil
    }

    mutating func enteredBackground(now: Duration) {
        backgroundSince = backgroundSince ?? now
    }

    /// Whether the stream under way, or the wait for the next one, is to be cut short
    /// now that the app is in the foreground again.
    mutating func enteredForeground(now: Duration) -> Bool {
        let away = backgroundSince.map { now - $0 } ?? .zero
        backgroundSince = nil
        switch state {
        case .waiting: return true
        case .connecting, .connected:
            let overdue = allowedSilence.map { now - lastFrame > $0 / Self.missedHeartbeats } ?? false
            return away > Self.backgroundGrace || state == .connected && overdue
        case .idle, .closed: return false
        }
    }

    /// The wait that comes next is the first one again.
    mutating func forgetFailures() {
        failures = 0
    }

    private mutating func backoff(_ random: Double) -> Duration {
        defer { failures += 1 }
        return doubled(Self.backoffBase, steps: failures, most: Self.backoffMax) * random
    }

    private mutating func wait(_ duration: Duration) -> Next {
        state = .waiting
        return .wait(duration)
    }

    private mutating func close(_ info: CloseInfo) -> Next {
        close()
        return .close(info)
    }

    /// Whether another attempt would only meet the same error.
    static func isFinal(_ error: ActorError, opened: Bool) -> Bool {
        switch error.code {
        case .unavailable, .aborted, .deadlineExceeded, .canceled: return false
        case .resourceExhausted: return error.retryAfter == nil && (!opened || !error.isRemote)
        case .unknown, .internal: return error.isRemote
        default: return true
        }
    }
}
