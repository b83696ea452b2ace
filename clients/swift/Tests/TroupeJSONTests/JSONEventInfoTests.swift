// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import TroupeCore

@testable import TroupeJSON

@Suite struct JSONEventInfoTests {
    private func info(_ json: String) throws -> EventInfo {
        try JSONDecoder().decode(JSONEventInfo.self, from: Data(json.utf8)).info
    }

    @Test func anOpenedFrame() throws {
        let info = try info(
            """
            {"cursor": "c1", "time": "2026-11-24T17:00:00.250Z", "head": "42",
             "opened": {"connectionId": "n1", "connection": "n1.secret", "actorId": "a1", "resumed": true, "heartbeatInterval": "0.200s"}}
            """)
        #expect(info.cursor == "c1")
        #expect(info.head == 42)
        #expect(info.time == Date(timeIntervalSince1970: 1_795_539_600.25))
        guard case .opened(let opened) = info.control else { throw ActorError(.internal, "not opened") }
        #expect(opened.connectionID == "n1")
        #expect(opened.connection == "n1.secret")
        #expect(opened.actorID == "a1")
        #expect(opened.resumed)
        #expect(opened.heartbeatInterval == .milliseconds(200))
    }

    @Test func aClosingFrame() throws {
        let info = try info(#"{"closing": {"reason": "CLOSE_REASON_SHUTDOWN", "message": "bye", "reconnectAfter": "1s", "code": "c"}}"#)
        guard case .closing(let closing) = info.control else { throw ActorError(.internal, "not closing") }
        #expect(closing.reason == .shutdown)
        #expect(closing.message == "bye")
        #expect(closing.code == "c")
        #expect(closing.reconnectAfter == .seconds(1))
    }

    @Test func aClosingFrameOfTheFuture() throws {
        let info = try info(#"{"closing": {"reason": "CLOSE_REASON_MOVED_TO_MARS"}}"#)
        guard case .closing(let closing) = info.control else { throw ActorError(.internal, "not closing") }
        #expect(closing.reason == .unspecified)
        #expect(closing.reconnectAfter == nil)
    }

    @Test func aHeartbeatAndAnEvent() throws {
        #expect(try info(#"{"heartbeat": {}}"#).control == .heartbeat)
        #expect(try info(#"{"cursor": "c2", "head": "7"}"#).control == nil)
        #expect(try info("{}") == EventInfo())
    }

    @Test(arguments: [("15s", Duration.seconds(15)), ("0.5s", .milliseconds(500)), ("0s", .zero)])
    func durations(_ text: String, _ duration: Duration) {
        #expect(JSONEventInfo.duration(text) == duration)
    }

    @Test(arguments: ["", "15", "s", "1h"]) func whatIsNoDuration(_ text: String) {
        #expect(JSONEventInfo.duration(text) == nil)
    }

    @Test func valuesGoThroughUnchanged() throws {
        let text = #"{"a":[1,2.5,true,null,"x"],"b":{}}"#
        let value = try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        #expect(String(decoding: try encoder.encode(value), as: UTF8.self) == text)
    }
}
