// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What can make calls as a connection.
public protocol ConnectionCalls: Sendable {
    /// Makes a call as the connection: see ``Connection/call(_:timeout:attempt:)``.
    func call<Reply>(
        _ method: Method, timeout: Duration?, attempt: (_ token: String, _ timeout: Duration?) async throws -> Reply
    ) async throws -> Reply

    /// Whether the open stream is the one of this `actor-conn`.
    func isOpen(as token: String) -> Bool
}

extension Connection: ConnectionCalls {
    /// Bounds how long a call waits for an open stream.
    static var maxWait: Duration { .seconds(10) }
    /// Bounds how often a call is made, each time over another stream.
    static var maxAttempts: Int { 3 }

    /// Makes a call as this connection: `attempt` gets the value of the `actor-conn`
    /// metadata. A call waits up to 10 s, and no longer than its time limit, for an open
    /// stream. When the server knows the connection no more the call had no effect: it
    /// is made again over the next stream, at most twice. Throws ``ActorError``.
    public func call<Reply>(
        _ method: Method,
        timeout: Duration? = nil,
        attempt: (_ token: String, _ timeout: Duration?) async throws -> Reply
    ) async throws -> Reply {
        open()
        let started = platform.time.now()
        func left() -> Duration? { timeout.map { max(.milliseconds(1), $0 - (platform.time.now() - started)) } }
        var gone: String?
        var inDoubt = false
        for number in 1... {
            do {
                let token = try await ready(otherThan: gone, timeout: left())
                gone = token
                return try await attempt(token, left())
            } catch {
                let error = ActorError.from(error)
                let isGone = error.code == .failedPrecondition && error.reason == "connection_gone"
                guard isGone, number < Self.maxAttempts else {
                    throw inDoubt && method.idempotency != .noSideEffects ? error.doubted : error
                }
                inDoubt = inDoubt || error.outcome == .unknown
                drop(gone)
            }
        }
        preconditionFailure("the attempts are counted")
    }

    /// Whether the open stream is the one of this `actor-conn`.
    public func isOpen(as token: String) -> Bool { state.withLock { $0.token == token } }

    /// Waits until the connection is open.
    public func ready(timeout: Duration? = nil) async throws {
        open()
        _ = try await ready(otherThan: nil, timeout: timeout)
    }

    // MARK: - Waiting for an open stream

    private func ready(otherThan gone: String?, timeout: Duration?) async throws -> String {
        let turnstile = Turnstile()
        let id = state.withLock { state -> Int in
            let id = state.newID()
            if let closed = state.closed {
                turnstile.resolve(.failure(Self.closedError(closed)))
            } else if let token = state.token, token != gone {
                turnstile.resolve(.success(token))
            } else {
                state.waiting[id] = turnstile
            }
            return id
        }
        defer { state.withLock { _ = $0.waiting.removeValue(forKey: id) } }
        let limit = min(timeout ?? Self.maxWait, Self.maxWait)
        let timer = turnstile.isResolved ? nil : Task { [platform] in
            guard (try? await platform.time.sleep(for: limit)) != nil else { return }
            let code: Code = limit < Self.maxWait ? .deadlineExceeded : .unavailable
            turnstile.resolve(.failure(.client(code, "the connection is not open", reason: "not_connected")))
        }
        defer { timer?.cancel() }
        return try await withTaskCancellationHandler {
            try await turnstile.get().get()
        } onCancel: {
            turnstile.resolve(.failure(.client(.canceled, "the call was cancelled", reason: "canceled")))
        }
    }

    static func closedError(_ info: CloseInfo) -> ActorError {
        .client(info.error?.code ?? .canceled, "the connection is closed", reason: "connection_closed")
    }

    /// Ends the stream of a connection that the server does not know any more.
    private func drop(_ token: String?) {
        let link = state.withLock { state -> OneShot<LinkMachine.End>? in
            guard let token, state.token == token else { return nil }
            state.token = nil
            return state.link
        }
        link?.resolve(.cut)
    }
}

extension ActorError {
    /// The error of an attempt that is not sent, because its stream has ended.
    static var connectionGone: ActorError {
        .client(.failedPrecondition, "the connection of this call is not open", reason: "connection_gone")
    }
}
