// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import TroupeCore
import TroupeJSON

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// One scenario under way: see the README of the scenarios.
actor Performance {
    static let service = "stage.v1.Stage"
    private static let idempotency: [String: Idempotency] = ["Look": .noSideEffects, "Set": .idempotent]

    private let run: Run
    private let client: JSONClient
    private let direct: JSONClient
    private var handles: [String: JSONActor] = [:]
    private var connections: [String: (connection: Connection<JSONValue>, handle: JSONActor, recording: Recording)] = [:]
    private var calls: [String: Task<JSONValue, any Error>] = [:]
    private var saved: [String: String] = [:]

    init(run: Run) {
        self.run = run
        client = JSONClient(baseURL: run.url)
        direct = JSONClient(baseURL: run.direct)
    }

    func end() {
        connections.values.forEach { $0.connection.close() }
        calls.values.forEach { $0.cancel() }
        client.close()
        direct.close()
    }

    func perform(_ step: JSONValue) async throws {
        switch step["do"]?.string {
        case "handle": handles[step.name("as")] = try makeHandle(step)
        case "create":
            try await verdict(step) { [self] in
                handles[step.name("as")] = try await client.create(Self.service, key(step), input: step["input"].map(input))
                return .object([:])
            }
        case "resolve":
            let handle = try find(handles, step.name("handle"))
            try await verdict(step) { [self] in
                let id = try await handle.resolve()
                try step["is"].map { JSONValue.string(try text($0.string ?? "")) }?.check(.string(id), "the id")
                return .object([:])
            }
        case "destroy": try await find(handles, step.name("handle")).destroy()
        case "call": try await call(step)
        case "await":
            let left = try find(calls, step.name("call"))
            try await verdict(step) { try await left.value }
        case "cancel": try find(calls, step.name("call")).cancel()
        case "stream": try await stream(step)
        case "connect": try connect(step)
        case "expect": try await find(connections, step.name("connection")).recording.expect(step["entries"]?.array ?? [])
        case "status": try await status(step)
        case "dispose": try find(connections, step.name("connection")).connection.close()
        case "network", "server":
            let query = step["ms"]?.number.map { "?ms=\(Int($0))" } ?? ""
            try await run.act(step.name("act") + query)
        case "fetch": try await fetch(step)
        case "socket": try await socket(step)
        default: throw Mismatch("there is no such step")
        }
    }

    private func key(_ step: JSONValue) -> [String] { step["key"]?.array?.compactMap(\.string) ?? [] }

    private func input(_ value: JSONValue) -> JSONInput { JSONInput(type: "stage.v1.StageInput", value.object ?? [:]) }

    private func makeHandle(_ step: JSONValue) throws -> JSONActor {
        let client = step["direct"]?.bool == true ? direct : client
        let params = step["params"].map(encodeParams)
        switch step["verb"]?.string {
        case "get": return client.get(Self.service, key(step), params: params)
        case "forId": return client.forID(Self.service, try text(step.name("id")), params: params)
        default: return client.getOrCreate(Self.service, key(step), input: step["input"].map(input), params: params)
        }
    }

    /// Checks what a step's work comes to: a reply that matches, or the error.
    private func verdict(_ step: JSONValue, _ work: () async throws -> JSONValue) async throws {
        let reply: JSONValue
        do {
            reply = try await work()
        } catch let error as ActorError {
            guard let want = step["error"] else { throw error }
            return try want.check(error.json, "the error")
        }
        guard step["error"] == nil else { throw Mismatch("it did not fail but gave \(reply.text)") }
        try step["reply"]?.check(reply, "the reply")
    }

    private func call(_ step: JSONValue) async throws {
        if let later = step["later"]?.string {
            calls[later] = Task { try await callOnce(step) }
        } else if step["eventually"]?.bool == true {
            while let want = step["reply"], want.difference(from: try await callOnce(step), "") != nil {
                try await Task.sleep(for: .milliseconds(20))
            }
        } else {
            try await verdict(step) { try await callOnce(step) }
        }
    }

    private func callOnce(_ step: JSONValue) async throws -> JSONValue {
        let (on, method) = (step.name("on"), step.name("method"))
        var options = JSONActor.CallOptions(idempotency: Self.idempotency[method] ?? .unknown)
        options.usesGET = step["get"]?.bool == true
        options.timeout = step["timeoutMs"]?.number.map { .milliseconds($0) }
        options.headers[HeaderName.idempotencyKey] = step["idempotencyKey"]?.string
        let request = step["request"] ?? .object([:])
        let reply: JSONActor.Reply<JSONValue>
        if let handle = handles[on] {
            reply = try await handle.call(method, request, options: options)
        } else {
            let (connection, handle, _) = try find(connections, on)
            reply = try await handle.call(method, request, options: options, over: connection)
        }
        try step["created"]?.check(.bool(reply.headers[HeaderName.created] == "true"), "created")
        for (field, header) in [("saveId", HeaderName.id), ("saveCursor", HeaderName.cursor)] {
            if let name = step[field]?.string { saved[name] = reply.headers[header] ?? "" }
        }
        return reply.message
    }

    private func stream(_ step: JSONValue) async throws {
        let handle = try find(handles, step.name("on"))
        let want = step["messages"]?.array ?? []
        var got: [JSONValue] = []
        try await verdict(step) {
            for try await message: JSONValue in try await handle.stream(step.name("method"), step["request"] ?? .object([:])) {
                got.append(message)
                if step["leave"]?.bool == true, got.count == want.count { break }
            }
            return .object([:])
        }
        try JSONValue.array(want).check(.array(got), "the messages")
    }

    private func connect(_ step: JSONValue) throws {
        let handle = try find(handles, step.name("handle"))
        let params = step["params"]?.array ?? [step["params"] ?? .object([:])]
        let attempts = Attempts()
        let options = ConnectionOptions(
            cursor: try step["cursor"]?.string.map(text),
            events: step["events"]?.array?.compactMap(\.string) ?? [])
        let connection = handle.connect("Watch", events: JSONValue.self, options: options) { params[min(await attempts.next(), params.count - 1)] }
        connections[step.name("as")] = (connection, handle, Recording(connection))
    }

    private func status(_ step: JSONValue) async throws {
        let connection = try find(connections, step.name("connection")).connection
        for await status in connection.statuses() {
            let name = switch status {
            case .connected: "connected"
            case .closed: "closed"
            default: "lost"
            }
            if name == step.name("is") { return }
        }
        throw Mismatch("the connection is never \(step.name("is"))")
    }

    private func fetch(_ step: JSONValue) async throws {
        let handle = try find(handles, step.name("handle"))
        let (response, body) = try await handle.fetch(
            step.name("path"), method: step["method"]?.string ?? "GET",
            headers: step["headers"]?.object?.compactMapValues(\.string) ?? [:], body: step["body"]?.string.map { Data($0.utf8) })
        try step["status"]?.check(.number(Double(response.statusCode)), "the status")
        try step["json"]?.check(try JSONDecoder().decode(JSONValue.self, from: body), "the answer")
    }

    private func socket(_ step: JSONValue) async throws {
        let socket = try await find(handles, step.name("handle")).webSocket(step.name("path"))
        socket.resume()
        let want = step["receive"]?.array ?? []
        var received: [JSONValue] = []
        func receive() async -> Bool {
            guard case .string(let text)? = try? await socket.receive() else { return false }
            received.append(.string(text))
            return true
        }
        // Each answer is taken before the next text is sent: on Linux a server's close
        // discards what nobody has asked for yet.
        for text in step["send"]?.array?.compactMap(\.string) ?? [] {
            try await socket.send(.string(text))
            if received.count < want.count { _ = await receive() }
        }
        while await receive() {}
        try JSONValue.array(want).check(.array(received), "what came")
    }

    /// A text of a step, or what was saved under its name.
    private func text(_ text: String) throws -> String {
        text.hasPrefix("$") ? try find(saved, String(text.dropFirst())) : text
    }

    private func find<Value>(_ all: [String: Value], _ name: String) throws -> Value {
        guard let found = all[name] else { throw Mismatch("there is no \(name)") }
        return found
    }
}

private actor Attempts {
    private var count = 0

    func next() -> Int {
        defer { count += 1 }
        return count
    }
}

extension JSONValue {
    /// A text that must be there.
    fileprivate func name(_ field: String) -> String { self[field]?.string ?? "" }
}

/// A stage.v1.WatchRequest in protobuf's binary encoding, which the metadata of calls
/// outside a connection has even when messages are JSON: user = 1, token = 2, greet = 3.
private func encodeParams(_ value: JSONValue) -> Data {
    var data = Data()
    for (number, name) in [(UInt8(1), "user"), (2, "token")] {
        let text = Array((value[name]?.string ?? "").utf8)
        if !text.isEmpty { data += [number << 3 | 2, UInt8(text.count)] + text }
    }
    if value["greet"]?.bool == true { data += [3 << 3, 1] }
    return data
}
