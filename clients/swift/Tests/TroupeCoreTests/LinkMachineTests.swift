// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import TroupeCore

@Suite struct LinkMachineTests {
    /// A machine whose stream opened at `now`.
    private func connected(at now: Duration = .zero, cursor: String = "c0", resumes: Bool = true) -> LinkMachine {
        var machine = LinkMachine(resumes: resumes)
        _ = machine.begin(now: now)
        _ = machine.received(openedInfo(cursor), now: now)
        return machine
    }

    @Test func theFirstStreamBeginsNow() {
        var machine = LinkMachine()
        #expect(machine.state == .idle)
        #expect(machine.begin(now: .zero) == nil)
        #expect(machine.state == .connecting)
        guard case .opened(let info) = machine.received(openedInfo(), now: .zero) else { Issue.record("not opened"); return }
        #expect(machine.state == .connected)
        #expect(info.gap == nil && !info.reconnected && !info.resumed)
        #expect(info.connectionID == "n1" && info.actorID == "a1")
    }

    @Test func theNextStreamResumesAfterTheLastFrame() {
        var machine = connected()
        #expect(machine.received(info("c1"), now: .zero) == .event)
        #expect(machine.received(info("c2", .heartbeat), now: .zero) == .control)
        _ = machine.ended(.failed(ActorError(.unavailable, "cut")), now: .zero, random: 1)
        #expect(machine.begin(now: .zero) == "c2")
        guard case .opened(let info) = machine.received(openedInfo("c2", resumed: true), now: .zero) else { Issue.record("not opened"); return }
        #expect(info.resumed && info.reconnected && info.gap == nil)
    }

    @Test func aClosingFrameDoesNotMoveTheCursor() {
        var machine = connected(cursor: "c5")
        _ = machine.received(closingInfo(.slow, after: .zero, cursor: "c9"), now: .zero)
        #expect(machine.cursor == "c5")
    }

    @Test func aStreamThatDoesNotResumeHasAGap() {
        var machine = connected(cursor: "c5")
        _ = machine.ended(.silent, now: .zero, random: 1)
        _ = machine.begin(now: .zero)
        guard case .opened(let info) = machine.received(openedInfo("d0"), now: .zero) else { Issue.record("not opened"); return }
        #expect(info.gap == Gap(cursor: "c5", error: nil))
        #expect(machine.cursor == "d0")
    }

    @Test func aCursorThatIsRefusedIsGivenUpAtOnceAndToldOnce() {
        var machine = LinkMachine(cursor: "old")
        #expect(machine.begin(now: .zero) == "old")
        let refusal = remote(.outOfRange, reason: "cursor_out_of_range")
        #expect(machine.ended(.failed(refusal), now: .zero, random: 1) == .wait(.zero))
        #expect(machine.begin(now: .zero) == nil)
        guard case .opened(let info) = machine.received(openedInfo("d0"), now: .zero) else { Issue.record("not opened"); return }
        #expect(info.gap == Gap(cursor: "old", error: refusal))
        _ = machine.ended(.silent, now: .zero, random: 0)
        _ = machine.begin(now: .zero)
        guard case .opened(let next) = machine.received(openedInfo("d0", resumed: true), now: .zero) else { Issue.record("not opened"); return }
        #expect(next.gap == nil)
    }

    @Test func outOfRangeWithoutACursorIsFinal() {
        var machine = LinkMachine()
        _ = machine.begin(now: .zero)
        guard case .close(let info) = machine.ended(.failed(remote(.outOfRange)), now: .zero, random: 1) else { Issue.record("goes on"); return }
        #expect(info.reason == .error && info.error?.code == .outOfRange)
        #expect(machine.state == .closed)
    }

    @Test func withoutResumeEveryStreamAfterTheFirstStartsAfresh() {
        var machine = LinkMachine(cursor: "given", resumes: false)
        #expect(machine.begin(now: .zero) == "given")
        _ = machine.received(openedInfo("c1", resumed: true), now: .zero)
        _ = machine.ended(.silent, now: .zero, random: 1)
        #expect(machine.begin(now: .zero) == nil)
        guard case .opened(let info) = machine.received(openedInfo("c2"), now: .zero) else { Issue.record("not opened"); return }
        #expect(info.gap == nil)
    }

    @Test func theBackOffDoublesFrom250MillisecondsTo30Seconds() {
        var machine = LinkMachine()
        var waits: [Duration] = []
        for _ in 0..<9 {
            _ = machine.begin(now: .zero)
            if case .wait(let wait) = machine.ended(.failed(ActorError(.unavailable, "down")), now: .zero, random: 1) { waits.append(wait) }
        }
        #expect(waits == [.milliseconds(250), .milliseconds(500), .seconds(1), .seconds(2), .seconds(4), .seconds(8), .seconds(16), .seconds(30), .seconds(30)])
    }

    @Test(arguments: [0.0, 0.5, 0.999]) func theBackOffHasFullJitter(_ random: Double) {
        var machine = LinkMachine()
        _ = machine.begin(now: .zero)
        #expect(machine.ended(.silent, now: .zero, random: random) == .wait(.milliseconds(250) * random))
    }

    @Test func aStableStreamStartsTheBackOffAnew() {
        var machine = LinkMachine()
        for _ in 0..<5 {
            _ = machine.begin(now: .zero)
            _ = machine.ended(.silent, now: .zero, random: 1)
        }
        _ = machine.begin(now: .zero)
        _ = machine.received(openedInfo(), now: .zero)
        #expect(machine.ended(.silent, now: .milliseconds(9_999), random: 1) == .wait(.seconds(8)))
        _ = machine.begin(now: .zero)
        _ = machine.received(openedInfo(), now: .zero)
        #expect(machine.ended(.silent, now: .seconds(10), random: 1) == .wait(.milliseconds(250)))
    }

    @Test func whatTheServerAsksForIsKept() {
        var machine = LinkMachine()
        _ = machine.begin(now: .zero)
        #expect(machine.ended(.failed(remote(.resourceExhausted, retryAfter: .seconds(3))), now: .zero, random: 0) == .wait(.seconds(3)))
        _ = machine.begin(now: .zero)
        _ = machine.received(openedInfo(), now: .zero)
        var closing = EventInfo.Closing()
        closing.reconnectAfter = .seconds(2)
        #expect(machine.ended(.closing(closing), now: .seconds(60), random: 0) == .wait(.seconds(2)))
    }

    @Test func aServerThatClosesAtOnceMeetsTheBackOff() {
        var machine = connected()
        var closing = EventInfo.Closing()
        closing.reconnectAfter = .zero
        #expect(machine.ended(.closing(closing), now: .zero, random: 1) == .wait(.milliseconds(250)))
        _ = machine.begin(now: .zero)
        _ = machine.received(openedInfo(), now: .zero)
        #expect(machine.ended(.closing(closing), now: .zero, random: 1) == .wait(.milliseconds(500)))
    }

    @Test func aServerThatClosesForGoodIsBelieved() {
        var machine = connected()
        var closing = EventInfo.Closing()
        (closing.reason, closing.code, closing.message) = (.disconnected, "rehearsal_over", "go home")
        guard case .close(let info) = machine.ended(.closing(closing), now: .zero, random: 1) else { Issue.record("goes on"); return }
        #expect(info.reason == .server(.disconnected))
        #expect(info.code == "rehearsal_over" && info.message == "go home")
        #expect(info.error?.reason == "connection_disconnected")
    }

    @Test(arguments: Code.allCases) func whichErrorsAreFinal(_ code: Code) {
        let goesOn: Set<Code> = [.unavailable, .aborted, .deadlineExceeded, .canceled]
        #expect(LinkMachine.isFinal(remote(code), opened: false) == !goesOn.contains(code))
        // A connection that breaks, and a slow reader, in the middle of a stream.
        #expect(!LinkMachine.isFinal(ActorError(.unknown, "broken"), opened: true))
        #expect(!LinkMachine.isFinal(remote(.resourceExhausted), opened: true))
        #expect(!LinkMachine.isFinal(remote(.resourceExhausted, retryAfter: .zero), opened: false))
        #expect(LinkMachine.isFinal(ActorError(.resourceExhausted, "a message too large"), opened: true))
    }

    @Test func silenceIsBoundedByTheHeartbeat() {
        var machine = LinkMachine()
        _ = machine.begin(now: .seconds(1))
        #expect(machine.silenceLimit == .seconds(31))
        _ = machine.received(openedInfo(heartbeat: .seconds(20)), now: .seconds(5))
        #expect(machine.silenceLimit == .seconds(55))
        _ = machine.received(info("c1"), now: .seconds(10))
        #expect(machine.silenceLimit == .seconds(60))
        _ = machine.ended(.silent, now: .seconds(60), random: 1)
        #expect(machine.silenceLimit == nil)
    }

    @Test func aServerWithoutHeartbeatsMayBeSilent() {
        var machine = LinkMachine()
        _ = machine.begin(now: .zero)
        _ = machine.received(openedInfo(heartbeat: .zero), now: .zero)
        #expect(machine.silenceLimit == nil)
    }

    @Test func theForegroundOpensADeadStreamAnew() {
        var machine = connected()
        machine.enteredBackground(now: .seconds(1))
        let short = machine.enteredForeground(now: .seconds(6))
        #expect(!short)
        machine.enteredBackground(now: .seconds(7))
        machine.enteredBackground(now: .seconds(12)) // told twice
        let long = machine.enteredForeground(now: .milliseconds(12_001))
        #expect(long)
        #expect(machine.ended(.cut, now: .seconds(13), random: 1) == .wait(.zero))
        #expect(machine.begin(now: .seconds(13)) == "c0", "it resumes")
    }

    @Test func theForegroundEndsAWaitAndAnOverdueStream() {
        var waiting = LinkMachine()
        _ = waiting.begin(now: .zero)
        _ = waiting.ended(.silent, now: .zero, random: 1)
        let endsTheWait = waiting.enteredForeground(now: .zero)
        #expect(endsTheWait)
        var overdue = connected()
        let inTime = overdue.enteredForeground(now: .seconds(15))
        #expect(!inTime)
        let late = overdue.enteredForeground(now: .milliseconds(15_001))
        #expect(late)
        var idle = LinkMachine()
        let nothing = idle.enteredForeground(now: .seconds(100))
        #expect(!nothing)
    }
}
