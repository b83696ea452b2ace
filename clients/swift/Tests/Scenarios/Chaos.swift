// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import TroupeCore
import TroupeJSON

/// Breaks the network at random, so many times: no client loses, repeats or reorders a
/// durable event, each call counts once, and in the end all are connected. The seed
/// repeats the acts. It is what TestChaos is for the client for Go.
struct Chaos {
    private static let acts = [["cut"], ["half"], ["lose"], ["stall", "cut", "up"], ["down", "up"], ["delay?ms=5", "cut", "up"]]
    private static let clients = 4

    let control: URL
    let cuts: Int
    let seed: UInt64

    /// Returns what it did.
    func run() async throws -> String {
        let made = try await Run.make(at: control, settings: .object(["heartbeatMs": .number(300)]))
        let publisher = JSONClient(baseURL: made.direct)
        let followers = (1...Self.clients).map { Follower(name: "follower \($0)", url: made.url) }
        defer {
            followers.forEach { $0.close() }
            publisher.close()
        }
        let text = try await self.break(made, followers, publisher.getOrCreate(Performance.service, ["chaos"]))
        followers.forEach { $0.close() }
        try await made.end()
        return text
    }

    private func `break`(_ run: Run, _ followers: [Follower], _ stage: JSONActor) async throws -> String {
        var random = SplitMix(state: seed)
        try await until("all are connected", followers) { $0.disconnected }
        let callers = followers.map { follower in Task { await follower.call() } }
        defer { callers.forEach { $0.cancel() } }
        var published = 0
        for _ in 0..<cuts {
            let count = Int.random(in: 1...5, using: &random)
            let batch = ["event": JSONValue.string("noted"), "from": .number(Double(published + 1)), "count": .number(Double(count))]
            _ = try await stage.call("Publish", ["batches": [JSONValue.object(batch)]], as: JSONValue.self)
            published += count
            if Int.random(in: 0..<4, using: &random) > 0 { // the other ones meet some that are on their way
                try await until("all are connected again", followers) { $0.disconnected }
            }
            for (index, act) in Self.acts.randomElement(using: &random)!.enumerated() {
                if index == 1 { try await Task.sleep(for: .milliseconds(Int.random(in: 0..<40, using: &random))) }
                try await run.act(act)
            }
            try await Task.sleep(for: .milliseconds(Int.random(in: 0..<60, using: &random)))
            // The log keeps 100 events: nobody may fall back further.
            try await until("all come up again", followers) { $0.behind(published - 60) }
        }
        followers.forEach { $0.stop() }
        for caller in callers { await caller.value }
        try await until("each has all events and is connected", followers) { $0.behind(published) ?? $0.disconnected }
        let counts = followers.map(\.counts)
        if let wrong = counts.flatMap(\.wrong).first { throw Mismatch(wrong) }
        let (added, doubtful) = (counts.reduce(0) { $0 + $1.added }, counts.reduce(0) { $0 + $1.doubtful })
        let total = Int(try await stage.call("Look", JSONValue.object([:]), as: JSONValue.self).message["total"]?.number ?? 0)
        guard (added...added + doubtful).contains(total) else {
            throw Mismatch("\(added) calls succeeded, \(doubtful) may have, \(total) did")
        }
        let opens = counts.map { String($0.opens) }.joined(separator: ", ")
        return "\(published) events, \(added) calls (\(doubtful) in doubt); streams opened: \(opens)"
    }

    private func until(_ what: String, _ followers: [Follower], _ missing: (Follower) -> String?) async throws {
        let limit = ContinuousClock.now + .seconds(60)
        while let text = followers.lazy.compactMap(missing).first {
            guard ContinuousClock.now < limit else { throw Mismatch("not within a minute: \(what): \(text)") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }
}

/// A client that follows the stage and calls it, over its connection.
private final class Follower: Sendable {
    struct Counts {
        var last = 0
        var opens = 0
        var added = 0
        var doubtful = 0 // calls that may have had their effect
        var wrong: [String] = []
        var stopped = false
    }

    private let name: String
    private let client: JSONClient
    private let stage: JSONActor
    private let connection: Connection<JSONValue>
    private let state = Locked(Counts())

    var counts: Counts { state.withLock { $0 } }

    init(name: String, url: URL) {
        self.name = name
        var options = JSONClient.Options()
        // Waits of up to 30 s would have a thousand cuts take hours.
        options.platform = Platform(time: SystemTime(), random: { Double.random(in: 0..<0.01) })
        client = JSONClient(baseURL: url, options: options)
        stage = client.getOrCreate(Performance.service, ["chaos"])
        connection = stage.connect("Watch", events: JSONValue.self) { JSONValue.object(["user": .string(name)]) }
        let events = connection.events()
        Task { [self] in await follow(events) }
    }

    /// Checks the order of the events.
    private func follow(_ events: AsyncThrowingStream<Delivery<JSONValue>, any Error>) async {
        do {
            for try await delivery in events {
                state.withLock { state in
                    switch delivery {
                    case .opened(let info):
                        state.opens += 1
                        if let gap = info.gap { state.wrong.append("\(name): a gap after \(gap.cursor)") }
                    case .event(let event, _):
                        guard let n = (event["noted"]?["n"]?.number).map({ Int($0) }) else { return }
                        if n != state.last + 1 { state.wrong.append("\(name): \(n) came after \(state.last)") }
                        state.last = n
                    }
                }
            }
        } catch {
            state.withLock { $0.wrong.append("\(name): \(error)") }
        }
    }

    /// Adds to the stage's total until it is stopped, and counts what became of that.
    func call() async {
        while !Task.isCancelled, !counts.stopped {
            do {
                _ = try await stage.call(
                    "Add", ["amount": 1], as: JSONValue.self, options: .init(timeout: .seconds(5)), over: connection)
                state.withLock { $0.added += 1 }
            } catch {
                state.withLock { $0.doubtful += ActorError.from(error).outcome == .notExecuted ? 0 : 1 }
            }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    func stop() { state.withLock { $0.stopped = true } }

    func close() {
        stop()
        connection.close()
        client.close()
    }

    var disconnected: String? { connection.status.isConnected ? nil : "\(name) is \(connection.status)" }

    func behind(_ n: Int) -> String? {
        let last = counts.last
        return last >= n ? nil : "\(name) is at \(last), not \(n)"
    }
}

/// A small generator whose numbers a seed repeats.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
