// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import TroupeCore

@Suite(.timeLimit(.minutes(1))) struct ActorCallsTests {
    private let write = Method(service: "s", name: "Add")

    private func calls(_ time: any TimeSource, keys: Bool = true, headers: @escaping ActorCalls.HeaderSource = { [:] }) -> ActorCalls {
        let retries = RetryPolicy(platform: Platform(time: time, random: { 1 }))
        return ActorCalls(address: Address(.key(["a"], .getOrCreate)), retries: retries, keys: keys, headers: headers)
    }

    /// Dictionaries have no order, so that one alone could be right by chance.
    @Test func aCallersOwnKeyIsSentHoweverItIsSpelled() async throws {
        for n in 0..<64 {
            let own = ["Idempotency-Key": "mine", "X-\(n)": "1"]
            let sent = try await calls(InstantTime()).unary(write, headers: own) { headers, _ in headers }
            #expect(sent["idempotency-key"] == "mine")
        }
    }

    @Test(arguments: [true, false]) func anEmptyKeyIsNone(_ keys: Bool) async {
        let sent = Locked([String?]())
        let call = Task {
            try await calls(InstantTime(), keys: keys).unary(write, headers: ["idempotency-key": ""]) { headers, _ in
                sent.withLock { $0.append(headers["idempotency-key"]) }
                throw ActorError(.unavailable, "the connection broke")
            }
        }
        _ = await call.result
        let attempts = sent.withLock { $0 }
        #expect(attempts.count == (keys ? 3 : 1))
        #expect(Set(attempts).count == 1 && attempts.allSatisfy { ($0 != nil) == keys && $0 != "" })
    }

    @Test func whatHeadersTakeIsPartOfTheTimeLimit() async throws {
        let time = ManualTime()
        let call = Task {
            try await calls(time) { try await time.sleep(for: .milliseconds(400)); return [:] }
                .unary(write, timeout: .seconds(5)) { _, left in left }
        }
        await time.sleepers(1)
        time.advance(by: .milliseconds(400))
        #expect(try await call.value == .milliseconds(4600))
    }

    @Test func aCallWhoseHeadersDoNotComeEndsInTime() async {
        let time = ManualTime()
        let call = Task {
            try await calls(time) { try await time.sleep(for: .seconds(3600)); return [:] }
                .unary(write, timeout: .seconds(5)) { _, _ in Issue.record("it was sent") }
        }
        await time.sleepers(2) // the headers and the time limit
        time.advance(by: .seconds(5))
        guard case .failure(let error) = await call.result else { Issue.record("it succeeded"); return }
        #expect(ActorError.from(error).code == .deadlineExceeded)
        #expect(ActorError.from(error).outcome == .notExecuted)
    }
}
