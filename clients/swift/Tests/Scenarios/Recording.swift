// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import TroupeCore
import TroupeJSON

/// What a connection goes through, in order.
final class Recording: Sendable {
    private let queue = Queue()

    init(_ connection: Connection<JSONValue>) {
        let sink = queue
        let events = connection.events()
        Task {
            do {
                for try await delivery in events {
                    switch delivery {
                    case .opened(let info):
                        sink.add(.object(["opened": .object(["resumed": .bool(info.resumed), "gap": .bool(info.gap != nil)])]))
                    case .event(let event, _):
                        // The union: its info, and one event.
                        guard let (name, value) = event.object?.first(where: { $0.key != "info" }) else { continue }
                        sink.add(.object(["event": .string(name), "value": value]))
                    }
                }
            } catch {
                // The status says why.
            }
            guard case .closed(let info) = connection.status else { return }
            var closed: [String: JSONValue] = ["reason": .string(info.reason.text), "code": .string(info.code), "message": .string(info.message)]
            closed["error"] = info.error?.json
            sink.add(.object(["closed": .object(closed)]))
        }
    }

    /// Takes the next entries.
    func expect(_ wanted: [JSONValue]) async throws {
        for entry in wanted {
            guard let event = entry["event"] else {
                try entry.check(try await queue.next(), "the entry")
                continue
            }
            let values: [JSONValue?]
            if let from = entry["from"]?.number, let to = entry["to"]?.number {
                values = stride(from: from, through: to, by: 1).map { .object(["n": .number($0)]) }
            } else {
                values = [entry["value"]]
            }
            let most = entry["reopens"]?.number
            var reopened = 0.0
            for value in values {
                var want = ["event": event]
                want["value"] = value
                while true {
                    let got = try await queue.next()
                    if most != nil, got["opened"] != nil {
                        try JSONValue.object(["opened": .object(["resumed": .bool(true), "gap": .bool(false)])]).check(got, "the entry")
                        reopened += 1
                    } else if entry["skip"]?.bool == true, got["event"] == event, JSONValue.object(want).difference(from: got, "") != nil {
                        continue
                    } else {
                        try JSONValue.object(want).check(got, "the entry")
                        break
                    }
                }
            }
            guard reopened >= most ?? 0 else { throw Mismatch("the connection opened again \(reopened) times, not \(most ?? 0)") }
        }
    }

    /// What has come and was not taken yet. One task at a time takes.
    private final class Queue: Sendable {
        private let state = Locked((entries: [JSONValue](), arrival: OneShot<Void>()))

        func add(_ entry: JSONValue) {
            let arrival = state.withLock { state in
                state.entries.append(entry)
                return state.arrival
            }
            arrival.resolve(())
        }

        func next() async throws -> JSONValue {
            while true {
                let (entry, arrival) = state.withLock { state -> (JSONValue?, OneShot<Void>) in
                    if !state.entries.isEmpty { return (state.entries.removeFirst(), state.arrival) }
                    state.arrival = OneShot()
                    return (nil, state.arrival)
                }
                if let entry { return entry }
                await arrival.get()
                try Task.checkCancellation()
            }
        }
    }
}

extension CloseInfo.Reason {
    var text: String {
        switch self {
        case .disposed: "disposed"
        case .error: "error"
        case .server(let reason): reason.rawValue.dropFirst("CLOSE_REASON_".count).lowercased()
        }
    }
}
