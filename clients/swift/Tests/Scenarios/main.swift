// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Does the scenarios of clients/scenarios with this package:
//
//     scenarios CONTROL LIST EXCEPTIONS [NAME]
//     scenarios CONTROL chaos CUTS SEED
//
// CONTROL is the URL of the scenarios' server, LIST the folder of the scenarios, and
// EXCEPTIONS the file of those that cannot pass. With NAME, only scenarios whose names
// contain it. With chaos it breaks the network so many times instead: see Chaos. It prints one line for each and a count, and fails unless exactly the
// exceptions fail.

import Foundation
import TroupeJSON

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// Prints a line at once, also into a pipe.
func say(_ line: String) {
    FileHandle.standardOutput.write(Data("\(line)\n".utf8))
}

let arguments = CommandLine.arguments.dropFirst()
guard arguments.count >= 3, let control = URL(string: arguments[1]) else {
    say("usage: scenarios CONTROL LIST EXCEPTIONS [NAME]")
    exit(2)
}

struct File: Decodable {
    struct Scenario: Decodable, Sendable {
        let name: String
        let only: [String]?
        let server: JSONValue?
        let steps: [JSONValue]
    }

    let scenarios: [Scenario]
}

struct Exception: Decodable {
    let name: String
    let why: String
    let over: [String]?
}

/// How long any step may take.
let patience = Duration.seconds(30)

func perform(_ scenario: File.Scenario) async throws {
    let run = try await Run.make(at: control, settings: scenario.server ?? .object([:]))
    let performance = Performance(run: run)
    var failure: (any Error)?
    for (index, step) in scenario.steps.enumerated() where failure == nil {
        do {
            try await within(patience) { try await performance.perform(step) }
        } catch {
            failure = Mismatch("step \(index + 1) (\(step["do"]?.string ?? "")): \(error)")
        }
    }
    await performance.end()
    try await run.end()
    if let failure { throw failure }
}

/// Leaves work that does not end in time: nothing waits for it, whatever it does.
func within(_ limit: Duration, _ work: @escaping @Sendable () async throws -> Void) async throws {
    let (results, sink) = AsyncThrowingStream<Void, any Error>.makeStream()
    let worker = Task {
        do {
            try await work()
            sink.finish()
        } catch {
            sink.finish(throwing: error)
        }
    }
    let timer = Task {
        try await Task.sleep(for: limit)
        sink.finish(throwing: Mismatch("nothing came of it in \(limit)"))
    }
    defer {
        worker.cancel()
        timer.cancel()
    }
    for try await _ in results {}
}

if arguments[2] == "chaos", let cuts = Int(arguments[3]), let seed = UInt64(arguments.last!) {
    do {
        say("ok  chaos: \(cuts) cuts (seed \(seed)): \(try await Chaos(control: control, cuts: cuts, seed: seed).run())")
        exit(0)
    } catch {
        say("FAIL  chaos: \(cuts) cuts (seed \(seed)): \(error)")
        exit(1)
    }
}

let folder = URL(fileURLWithPath: arguments[2])
let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".json") }.sorted()
let scenarios = try names.flatMap { name in
    try JSONDecoder().decode(File.self, from: Data(contentsOf: folder.appendingPathComponent(name))).scenarios
}
let exceptions = try JSONDecoder().decode([Exception].self, from: Data(contentsOf: URL(fileURLWithPath: arguments[3])))
let wanted = arguments.count > 3 ? arguments[4] : ""

var (passed, failed) = (0, 0)
@MainActor func report(_ ok: Bool, _ text: String) {
    say("\(ok ? "ok" : "FAIL")  \(text)")
    if ok { passed += 1 } else { failed += 1 }
}
for scenario in scenarios where wanted.isEmpty || scenario.name.contains(wanted) {
    if let only = scenario.only, !only.contains("connect") { continue }
    let exception = exceptions.first { $0.name == scenario.name && $0.over?.contains("connect json") != false }
    do {
        try await perform(scenario)
        report(exception == nil, scenario.name + (exception == nil ? "" : ": it passes, so it is no exception"))
    } catch {
        report(exception != nil, exception.map { "\(scenario.name): not passed, as expected: \($0.why)" } ?? "\(scenario.name): \(error)")
    }
}
for exception in exceptions where !scenarios.contains(where: { $0.name == exception.name }) {
    report(false, "there is no scenario \(exception.name)")
}
say("scenarios: \(passed) passed, \(failed) failed")
exit(failed == 0 && passed > 0 ? 0 : 1)
