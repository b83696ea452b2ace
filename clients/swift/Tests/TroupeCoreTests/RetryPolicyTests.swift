// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import TroupeCore

@Suite struct RetryPolicyTests {
    private static let write = Method(service: "chat.v1.ChatRoom", name: "Send")
    private static let read = Method(service: "chat.v1.ChatRoom", name: "History", idempotency: .noSideEffects)
    private static let set = Method(service: "chat.v1.ChatRoom", name: "Set", idempotency: .idempotent)

    /// A call whose attempts fail with these errors, one after another, and then
    /// succeed. Waits end at once.
    private func attempts(
        _ errors: [ActorError], _ method: Method = write, keyed: Bool = false, timeout: Duration? = nil, policy: RetryPolicy? = nil
    ) async -> (count: Int, error: ActorError?, waits: [Duration]) {
        let time = InstantTime()
        let policy = policy ?? RetryPolicy(platform: Platform(time: time, random: { 1 }))
        var count = 0
        do {
            try await policy.run(method, keyed: keyed, timeout: timeout) { _ in
                count += 1
                if count <= errors.count { throw errors[count - 1] }
            }
            return (count, nil, time.waits)
        } catch {
            return (count, ActorError.from(error), time.waits)
        }
    }

    @Test func aRefusalWithAnInvitationIsRepeated() async {
        let busy = remote(.resourceExhausted, outcome: .notExecuted, retryAfter: .milliseconds(10))
        let (count, error, waits) = await attempts([busy, busy])
        #expect(count == 3 && error == nil)
        #expect(waits == [.milliseconds(60), .milliseconds(110)])
    }

    @Test func threeAttemptsAreTheMost() async {
        let busy = remote(.unavailable, outcome: .notExecuted, retryAfter: .zero)
        let (count, error, _) = await attempts([busy, busy, busy, busy])
        #expect(count == 3)
        #expect(error?.outcome == .notExecuted, "no attempt had an effect")
    }

    @Test func aLostAnswerIsRepeatedOnlyWhereThatDoesNoHarm() async {
        let lost = ActorError(.unavailable, "the connection broke")
        #expect(await attempts([lost]).count == 1)
        #expect(await attempts([lost], keyed: true).count == 2)
        #expect(await attempts([lost], Self.read).count == 2)
        #expect(await attempts([lost], Self.set).count == 2)
    }

    @Test func whatWasCommittedIsNotRepeated() async {
        #expect(await attempts([remote(.unavailable, outcome: .committed)], keyed: true).count == 1)
    }

    @Test func anAuthorsErrorIsNeverRepeated() async {
        let authored = remote(.unavailable, outcome: .notExecuted, retryAfter: .zero, reason: "closed", domain: "chat.v1.ChatRoom")
        for method in [Self.write, Self.read, Self.set] {
            #expect(await attempts([authored], method, keyed: true).count == 1)
        }
    }

    @Test(arguments: Code.allCases) func onlyThreeCodesAreRepeated(_ code: Code) async {
        let again = await attempts([remote(code)], Self.read).count == 2
        #expect(again == [.unavailable, .aborted].contains(code))
        let invited = await attempts([remote(code, retryAfter: .zero)], Self.read).count == 2
        #expect(invited == [.unavailable, .aborted, .resourceExhausted].contains(code))
    }

    @Test func theWholeCallIsInDoubtIfOneAttemptWas() async {
        let lost = ActorError(.unavailable, "the connection broke")
        let refused = remote(.permissionDenied, outcome: .notExecuted)
        #expect(await attempts([lost, refused], keyed: true).error?.outcome == .unknown)
        #expect(await attempts([lost, refused], Self.read).error?.outcome == .notExecuted)
    }

    @Test func aWaitThatIsTooLongIsNotBegun() async {
        #expect(await attempts([remote(.unavailable, outcome: .notExecuted, retryAfter: .seconds(6))]).count == 1)
        let soon = remote(.unavailable, outcome: .notExecuted, retryAfter: .seconds(1))
        #expect(await attempts([soon], timeout: .seconds(1)).count == 1)
        #expect(await attempts([soon], timeout: .seconds(2)).count == 2)
    }

    @Test func theBudgetIsATenthOfTheCallsAndTenToBeginWith() async {
        let policy = RetryPolicy(platform: Platform(time: InstantTime(), random: { 0 }))
        let busy = remote(.unavailable, outcome: .notExecuted, retryAfter: .zero)
        var retries = 0
        for _ in 0..<100 {
            retries += await attempts([busy], policy: policy).count - 1
        }
        // Ten to begin with, and what a hundred calls earned, less what the full budget had no room for.
        #expect((18...20).contains(retries), "\(retries)")
    }

    @Test func aPolicyMayBeTurnedOff() async {
        let policy = RetryPolicy(platform: Platform(time: InstantTime(), random: { 0 }), enabled: false)
        #expect(await attempts([remote(.unavailable, outcome: .notExecuted, retryAfter: .zero)], policy: policy).count == 1)
    }

    @Test func aCancelledCallIsNotRepeated() async {
        let time = ManualTime()
        let policy = RetryPolicy(platform: .manual(time))
        let call = Task {
            try await policy.run(Self.read, keyed: false) { _ in throw remote(.unavailable) }
        }
        await time.sleepers(1)
        call.cancel()
        let result = await call.result
        guard case .failure(let error) = result else { Issue.record("it succeeded"); return }
        #expect(ActorError.from(error).code == .canceled)
        #expect(ActorError.from(error).outcome == .unknown)
    }

    @Test func keysAreUnlikeEachOther() {
        let keys = Set((0..<100).map { _ in RetryPolicy.newKey() })
        #expect(keys.count == 100)
        #expect(keys.allSatisfy { $0.hasPrefix("auto-") && $0.utf8.count == 37 })
    }
}

/// Time that passes as soon as somebody waits.
final class InstantTime: TimeSource {
    private let state = Locked((now: Duration.zero, waits: [Duration]()))

    var waits: [Duration] { state.withLock { $0.waits } }

    func now() -> Duration { state.withLock { $0.now } }

    func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        state.withLock { state in
            state.now += duration
            state.waits.append(duration)
        }
    }
}
