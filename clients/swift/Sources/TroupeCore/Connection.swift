// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A connection to one actor: it follows the actor's events over one stream at a time,
/// and opens the next one by itself until it is closed, the server closes it for good,
/// or an error says that trying again is no use.
///
/// It begins with its first use (``events()``, ``call(_:timeout:attempt:)`` or
/// ``open()``), so that no event comes before its consumer. From then on a task keeps
/// it alive: ``close()`` it.
///
/// A stream resumes after the last frame seen. It is cut when nothing came for two and
/// a half of the server's heartbeat intervals. Waits have full jitter and double from
/// 250 ms to 30 s; a stream that stayed open for 10 s starts them anew. A wait that the
/// server asks for is kept.
public final class Connection<Event: Sendable>: Sendable {
    /// Opens a stream with this metadata. It is called for every attempt, so it is the
    /// place to make parameters and tokens anew.
    public typealias Opener = @Sendable (_ headers: [String: String]) async throws -> AsyncThrowingStream<Frame<Event>, any Error>

    typealias Consumer = AsyncThrowingStream<Delivery<Event>, any Error>.Continuation
    typealias Turnstile = OneShot<Result<String, ActorError>>

    struct State {
        var machine: LinkMachine
        var status = ConnectionStatus.idle
        var token: String? // of the open stream
        var link: OneShot<LinkMachine.End>? // ends the stream under way
        var watchdog: Task<Void, Never>? // cuts it when it is silent
        var pause: OneShot<Void>? // ends the wait for the next one
        var nextID = 0
        var consumers: [Int: Consumer] = [:]
        var watchers: [Int: AsyncStream<ConnectionStatus>.Continuation] = [:]
        var complainers: [Int: AsyncStream<ActorError>.Continuation] = [:]
        var waiting: [Int: Turnstile] = [:] // calls that wait for an open stream
        var closed: CloseInfo?

        mutating func newID() -> Int {
            nextID += 1
            return nextID
        }
    }

    private let options: ConnectionOptions
    let platform: Platform
    private let opener: Opener
    let state: Locked<State>

    public init(options: ConnectionOptions = .init(), platform: Platform = .system, open: @escaping Opener) {
        self.options = options
        self.platform = platform
        opener = open
        state = Locked(State(machine: LinkMachine(cursor: options.cursor, resumes: options.resumes)))
    }

    public var status: ConnectionStatus { state.withLock { $0.status } }

    /// Where a stream would resume now; nil before the first frame.
    public var cursor: String? { state.withLock { $0.machine.cursor } }

    /// Streams that open and events, from now on, in order. Each call has a buffer of its own; a consumer
    /// that lags behind by more than ``ConnectionOptions/buffer`` gets what is buffered
    /// and then `resource_exhausted`, reason `consumer_too_slow`, and the connection
    /// goes on. Ending the loop, or its task, ends the buffer. It finishes when the
    /// connection is closed by this program, and throws when it is over otherwise.
    public func events() -> AsyncThrowingStream<Delivery<Event>, any Error> {
        let (stream, consumer) = AsyncThrowingStream<Delivery<Event>, any Error>
            .makeStream(bufferingPolicy: .bufferingOldest(max(1, options.buffer)))
        let (id, closed) = state.withLock { state -> (Int, CloseInfo?) in
            let id = state.newID()
            if state.closed == nil {
                state.consumers[id] = consumer
            }
            return (id, state.closed)
        }
        if let closed {
            consumer.finish(throwing: closed.error)
        } else {
            consumer.onTermination = { [weak self] _ in self?.state.withLock { _ = $0.consumers.removeValue(forKey: id) } }
        }
        open()
        return stream
    }

    /// The status now, and each one that follows. A slow reader misses some, never the
    /// last.
    public func statuses() -> AsyncStream<ConnectionStatus> {
        let (stream, watcher) = AsyncStream<ConnectionStatus>.makeStream(bufferingPolicy: .bufferingNewest(16))
        let (id, closed) = state.withLock { state -> (Int, Bool) in
            let id = state.newID()
            watcher.yield(state.status)
            if state.closed == nil {
                state.watchers[id] = watcher
            }
            return (id, state.closed != nil)
        }
        if closed {
            watcher.finish()
        } else {
            watcher.onTermination = { [weak self] _ in self?.state.withLock { _ = $0.watchers.removeValue(forKey: id) } }
        }
        return stream
    }

    /// The errors of the connection, those that it recovers from included.
    public func errors() -> AsyncStream<ActorError> {
        let (stream, complainer) = AsyncStream<ActorError>.makeStream(bufferingPolicy: .bufferingNewest(16))
        let (id, closed) = state.withLock { state -> (Int, Bool) in
            let id = state.newID()
            if state.closed == nil {
                state.complainers[id] = complainer
            }
            return (id, state.closed != nil)
        }
        if closed {
            complainer.finish()
        } else {
            complainer.onTermination = { [weak self] _ in self?.state.withLock { _ = $0.complainers.removeValue(forKey: id) } }
        }
        return stream
    }

    /// Begins to connect, if that has not begun yet. Returns at once.
    public func open() {
        let begins = state.withLock { state in
            guard state.machine.state == .idle else { return false }
            _ = state.machine.begin(now: platform.time.now())
            return true
        }
        if begins {
            Task { await run() }
        }
    }

    /// Ends the connection. Loops over its events finish; calls that wait for it fail.
    public func close() {
        finish(CloseInfo(reason: .disposed))
    }

    /// Ends the wait for the next stream.
    public func reconnectNow() {
        let pause = state.withLock { state in
            state.machine.forgetFailures()
            return state.pause
        }
        pause?.resolve(())
    }

    /// Tells the connection that the app went to the background, where the system may
    /// take its socket away without a word.
    public func enteredBackground() {
        state.withLock { $0.machine.enteredBackground(now: platform.time.now()) }
    }

    /// Tells the connection that the app is in the foreground again. A stream that may
    /// be dead is opened anew at once, after the last event seen.
    public func enteredForeground() {
        let (link, pause) = state.withLock { state -> (OneShot<LinkMachine.End>?, OneShot<Void>?) in
            guard state.machine.enteredForeground(now: platform.time.now()) else { return (nil, nil) }
            return (state.link, state.pause)
        }
        link?.resolve(.cut)
        pause?.resolve(())
    }

    // MARK: - Streams, one after another

    private func run() async {
        while true {
            let link = OneShot<LinkMachine.End>()
            let begun = state.withLock { state -> String?? in
                guard state.closed == nil else { return nil }
                let cursor = state.machine.begin(now: platform.time.now())
                state.link = link
                return .some(cursor)
            }
            guard let cursor = begun else { return }
            report(.connecting)
            let end = await follow(link, from: cursor)
            guard let (wait, pause) = judge(end) else { return }
            if wait > .zero {
                let timer = Task { [platform] in
                    try? await platform.time.sleep(for: wait)
                    pause.resolve(())
                }
                await pause.get()
                timer.cancel()
            }
        }
    }

    /// Runs one stream until it ends. A transport need not notice that it is cut: this
    /// returns all the same, and nothing that comes later counts.
    private func follow(_ link: OneShot<LinkMachine.End>, from cursor: String?) async -> LinkMachine.End {
        var headers: [String: String] = [:]
        headers[HeaderName.resume] = cursor
        headers[HeaderName.events] = options.events.isEmpty ? nil : options.events.joined(separator: ",")
        let reader = Task { [headers] in
            do {
                for try await frame in try await opener(headers) {
                    guard receive(frame, over: link) else { return }
                }
                link.resolve(.failed(ActorError(.unavailable, "the stream ended without a closing frame")))
            } catch {
                link.resolve(.failed(ActorError.from(error)))
            }
        }
        watch(link)
        let end = await link.get()
        reader.cancel()
        state.withLock { state in
            state.watchdog?.cancel()
            state.watchdog = nil
        }
        return end
    }

    /// Cuts a stream when nothing has come until its limit, which every frame moves. It
    /// begins anew when the limit may have become an earlier one.
    private func watch(_ link: OneShot<LinkMachine.End>) {
        let watchdog = Task {
            while !Task.isCancelled, let limit = state.withLock({ $0.machine.silenceLimit }) {
                let rest = limit - platform.time.now()
                if rest <= .zero {
                    link.resolve(.silent)
                    return
                }
                guard (try? await platform.time.sleep(for: rest)) != nil else { return }
            }
        }
        state.withLock { state in
            state.watchdog?.cancel()
            state.watchdog = watchdog
        }
    }

    /// Takes in one frame. Reports whether the stream goes on. Only one task receives
    /// at a time, so what it hands out keeps its order.
    private func receive(_ frame: Frame<Event>, over link: OneShot<LinkMachine.End>) -> Bool {
        let (received, consumers) = state.withLock { state -> (LinkMachine.Received?, [Int: Consumer]) in
            guard state.link === link, !link.isResolved, state.closed == nil else { return (nil, [:]) }
            return (state.machine.received(frame.info, now: platform.time.now()), state.consumers)
        }
        switch received {
        case nil: return false
        case .control: return true
        case .closing(let closing):
            link.resolve(.closing(closing))
            return false
        case .event:
            if let event = frame.event {
                deliver(.event(event, frame.info), to: consumers)
            }
            return true
        case .opened(let info):
            guard case .opened(let opened) = frame.info.control else { return true }
            watch(link)
            deliver(.opened(info), to: consumers)
            let turnstiles = state.withLock { state -> [Turnstile] in
                guard state.link === link, state.closed == nil else { return [] }
                state.token = opened.connection
                return Array(state.waiting.values)
            }
            report(.connected(info))
            turnstiles.forEach { $0.resolve(.success(opened.connection)) }
            return true
        }
    }

    private func deliver(_ delivery: Delivery<Event>, to consumers: [Int: Consumer]) {
        for consumer in consumers.values {
            if case .dropped = consumer.yield(delivery) {
                consumer.finish(throwing: ActorError.client(
                    .resourceExhausted, "a consumer lags behind by \(options.buffer) events", reason: "consumer_too_slow"))
            }
        }
    }

    /// Says how long to wait for the next stream; nil if there is none.
    private func judge(_ end: LinkMachine.End) -> (Duration, OneShot<Void>)? {
        let error: ActorError? =
            switch end {
            case .failed(let error): error
            case .silent: .client(.unavailable, "the server fell silent", reason: "heartbeat_missed", outcome: .unknown)
            case .closing, .cut: nil
            }
        let pause = OneShot<Void>()
        let (next, complainers) = state.withLock { state -> (LinkMachine.Next?, [AsyncStream<ActorError>.Continuation]) in
            state.token = nil
            state.link = nil
            guard state.closed == nil else { return (nil, []) }
            state.pause = pause
            return (state.machine.ended(end, now: platform.time.now(), random: platform.random()), Array(state.complainers.values))
        }
        if let error {
            complainers.forEach { $0.yield(error) }
        }
        switch next {
        case nil: return nil
        case .wait(let wait):
            report(.waiting(wait, error))
            return (wait, pause)
        case .close(let info):
            finish(info)
            return nil
        }
    }

    private func report(_ status: ConnectionStatus) {
        state.withLock { state in
            guard state.closed == nil else { return }
            state.status = status
            state.watchers.values.forEach { $0.yield(status) }
        }
    }

    private func finish(_ info: CloseInfo) {
        let ended = state.withLock { state -> State? in
            guard state.closed == nil else { return nil }
            state.machine.close()
            state.closed = info
            state.status = .closed(info)
            state.token = nil
            defer { (state.consumers, state.watchers, state.complainers, state.waiting) = ([:], [:], [:], [:]) }
            return state
        }
        guard let ended else { return }
        ended.link?.resolve(.cut)
        ended.pause?.resolve(())
        ended.waiting.values.forEach { $0.resolve(.failure(Self.closedError(info))) }
        ended.consumers.values.forEach { $0.finish(throwing: info.error) }
        ended.complainers.values.forEach { $0.finish() }
        for watcher in ended.watchers.values {
            watcher.yield(.closed(info))
            watcher.finish()
        }
    }
}
