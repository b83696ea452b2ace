// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

@testable import TroupeCore

/// A server for one connection: each stream that it opens is handed to the test.
final class Streams: Sendable {
    struct Stream: Sendable {
        let headers: [String: String]
        let frames: AsyncThrowingStream<Frame<String>, any Error>.Continuation

        func send(_ info: EventInfo, _ event: String? = nil) {
            frames.yield(Frame(info: info, event: event))
        }
    }

    private let opened = AsyncStream<Stream>.makeStream()

    func open(_ headers: [String: String]) -> AsyncThrowingStream<Frame<String>, any Error> {
        let (stream, frames) = AsyncThrowingStream<Frame<String>, any Error>.makeStream()
        opened.continuation.yield(Stream(headers: headers, frames: frames))
        return stream
    }

    func next() async -> Stream {
        for await stream in opened.stream { return stream }
        fatalError("the streams never end")
    }
}

struct Bench {
    let time = ManualTime()
    let streams = Streams()
    let connection: Connection<String>

    init(_ options: ConnectionOptions = .init(), random: Double = 1) {
        connection = Connection(options: options, platform: .manual(time, random: random)) { [streams] in streams.open($0) }
    }

    /// Waits until the connection waits for its next stream, and nothing else sleeps.
    func waiting() async {
        for await status in connection.statuses() {
            if case .waiting = status { break }
        }
        await time.sleepers(1)
    }
}

/// Reads deliveries as short texts: "open", "open+gap", "resumed", or the event.
final class Deliveries {
    private var iterator: AsyncThrowingStream<Delivery<String>, any Error>.Iterator

    init(_ connection: Connection<String>) {
        iterator = connection.events().makeAsyncIterator()
    }

    func next() async throws -> String? {
        switch try await iterator.next() {
        case .event(let event, _): event
        case .opened(let info): info.gap != nil ? "open+gap" : info.resumed ? "resumed" : "open"
        case nil: nil
        }
    }

    func next(_ count: Int) async throws -> [String] {
        var all: [String] = []
        while all.count < count, let one = try await next() { all.append(one) }
        return all
    }
}

/// Reads a stream from inside of expectations, which cannot change a value.
final class Reader<Element: Sendable> {
    private var iterator: AsyncStream<Element>.Iterator

    init(_ stream: AsyncStream<Element>) {
        iterator = stream.makeAsyncIterator()
    }

    func next() async -> Element? { await iterator.next() }
}
