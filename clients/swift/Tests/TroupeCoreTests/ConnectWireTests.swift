// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import TroupeCore

@Suite struct ConnectWireTests {
    /// The details that a server sends, as Connect's JSON has them: base64 without padding.
    private static let details: [(String, Data)] = [
        ("google.rpc.ErrorInfo", ProtobufWriter.build { writer in
            writer.string(1, "room_full")
            writer.string(2, "chat.v1.ChatRoom")
            for (key, value) in [("limit", "10"), ("ключ", "é")] {
                writer.message(3) { $0.string(1, key); $0.string(2, value) }
            }
        }),
        ("google.rpc.RetryInfo", ProtobufWriter.build { $0.message(1) { $0.varint(1, 2); $0.varint(2, 500_000_000) } }),
        ("troupe.v1.Outcome", ProtobufWriter.build { $0.varint(1, 1); $0.string(2, "id-1") }),
        ("buf.validate.Violations", ProtobufWriter.build { writer in
            writer.message(1) { violation in
                violation.message(5) { path in
                    path.message(1) { $0.varint(1, 4); $0.string(2, "members"); $0.varint(6, 2) }
                    path.message(1) { $0.string(2, "labels"); $0.string(10, "a b") }
                    path.message(1) { $0.string(2, "name") }
                }
                violation.string(2, "string.min_len")
                violation.string(3, "too short")
            }
            writer.message(1) { $0.string(2, "whole"); $0.string(3, "all wrong") }
        }),
    ]

    private static func json(_ code: String, _ details: [(String, Data)]) -> Data {
        let list = details.map { ["type": $0.0, "value": $0.1.base64EncodedString().replacingOccurrences(of: "=", with: "")] }
        return try! JSONSerialization.data(withJSONObject: ["code": code, "message": "no room", "details": list])
    }

    private func check(_ error: ActorError) {
        #expect(error.code == .resourceExhausted)
        #expect(error.message == "no room")
        #expect(error.reason == "room_full")
        #expect(error.domain == "chat.v1.ChatRoom")
        #expect(error.metadata == ["limit": "10", "ключ": "é"])
        #expect(error.retryAfter == .milliseconds(2500))
        #expect(error.outcome == .notExecuted)
        #expect(error.correlationID == "id-1")
        #expect(error.violations == [
            Violation(field: #"members[2].labels["a b"].name"#, rule: "string.min_len", message: "too short"),
            Violation(field: "", rule: "whole", message: "all wrong"),
        ])
        #expect(error.isRemote)
    }

    @Test func anErrorWithEveryDetail() {
        check(ConnectWire.error(status: 429, body: Self.json("resource_exhausted", Self.details)))
    }

    @Test func theSameErrorAtTheEndOfAStream() throws {
        let error = try JSONSerialization.jsonObject(with: Self.json("resource_exhausted", Self.details))
        let frame = try JSONSerialization.data(withJSONObject: ["error": error, "metadata": ["x": ["y"]]])
        check(try #require(try ConnectWire.endOfStream(frame)))
        #expect(try ConnectWire.endOfStream(Data("{}".utf8)) == nil)
        #expect(throws: ActorError.self) { try ConnectWire.endOfStream(Data("no JSON".utf8)) }
    }

    @Test func aDetailThatCannotBeReadIsLeftOut() {
        let broken = Self.details.map { ($0.0, $0.1.dropLast(1)) } + [("some.Other", Data([0xff]))]
        let error = ConnectWire.error(status: 400, body: Self.json("invalid_argument", broken.map { ($0.0, Data($0.1)) }))
        #expect(error.code == .invalidArgument)
        #expect(error.message == "no room")
        #expect(error.reason == "")
        #expect(error.violations.isEmpty)
    }

    @Test(arguments: [(400, Code.internal), (401, .unauthenticated), (403, .permissionDenied), (404, .unimplemented),
                      (429, .unavailable), (502, .unavailable), (503, .unavailable), (504, .unavailable), (500, .unknown), (302, .unknown)])
    func anAnswerThatIsNotConnects(_ status: Int, _ code: Code) {
        let error = ConnectWire.error(status: status, body: Data("<html>".utf8))
        #expect(error.code == code)
        #expect(error.outcome == .unknown)
    }

    @Test func anUnknownCodeIsWhatTheStatusSays() {
        #expect(ConnectWire.error(status: 503, body: Data(#"{"code":"tea_time"}"#.utf8)).code == .unavailable)
    }

    @Test func envelopesArriveInAnyPieces() throws {
        let messages = [Data("one".utf8), Data(), Data(repeating: 7, count: 300)]
        let bytes = messages.reduce(Data()) { $0 + Envelope(content: $1).encoded() } + Envelope(flags: 2, content: Data("{}".utf8)).encoded()
        for size in [1, 2, 5, 7, bytes.count] {
            var decoder = EnvelopeDecoder()
            var seen: [Envelope] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                decoder.append(bytes[start..<min(start + size, bytes.count)])
                while let envelope = try decoder.next() { seen.append(envelope) }
            }
            #expect(seen.map(\.content) == messages + [Data("{}".utf8)])
            #expect(seen.map(\.isEndOfStream) == [false, false, false, true])
            #expect(!decoder.isInside)
        }
    }

    @Test func anEnvelopeIsWrittenAsTheProtocolSays() {
        #expect(Envelope(content: Data([1, 2])).encoded() == Data([0, 0, 0, 0, 2, 1, 2]))
        #expect(Envelope(flags: 1, content: Data()).isCompressed)
    }

    @Test func aMessageThatIsTooLargeIsRefusedBeforeItArrives() {
        var decoder = EnvelopeDecoder()
        decoder.append(Data([0, 0xff, 0xff, 0xff, 0xff]))
        #expect(throws: ActorError.self) { try decoder.next() }
    }

    @Test func eventInfoInBinary() throws {
        let data = ProtobufWriter.build { writer in
            writer.string(1, "c1")
            writer.message(2) { $0.varint(1, 1_795_539_600); $0.varint(2, 250_000_000) }
            writer.varint(3, 42)
            writer.message(4) { opened in
                opened.string(1, "n1")
                opened.string(2, "n1.secret")
                opened.string(3, "a1")
                opened.varint(4, 1)
                opened.message(5) { $0.varint(1, 15) }
            }
            writer.varint(99, 1) // a field of the future
        }
        var expected = openedInfo("c1", resumed: true)
        expected.time = Date(timeIntervalSince1970: 1_795_539_600.25)
        expected.head = 42
        #expect(try EventInfo(protobuf: data) == expected)
        let closing = ProtobufWriter.build { $0.message(6) { $0.varint(1, 1); $0.string(2, "bye"); $0.message(3) { $0.varint(2, 1_000_000) } } }
        var info = EventInfo.Closing()
        (info.reason, info.message, info.reconnectAfter) = (.shutdown, "bye", .milliseconds(1))
        #expect(try EventInfo(protobuf: closing).control == .closing(info))
        #expect(try EventInfo(protobuf: ProtobufWriter.build { $0.bytes(5, Data()) }).control == .heartbeat)
        let mars = try EventInfo(protobuf: ProtobufWriter.build { $0.message(6) { $0.varint(1, 77) } })
        #expect(mars.control == .closing(EventInfo.Closing()))
    }

    @Test func malformedMessagesAreRefused() {
        for bytes: [UInt8] in [[0x0a], [0x0a, 5, 1], [0xff], [0x0a, 0x80], [0x00, 1], [0x0b], [0x0d, 1, 2],
                               [0x08] + [UInt8](repeating: 0xff, count: 11)] {
            #expect(throws: (any Error).self, "\(bytes)") { try EventInfo(protobuf: Data(bytes)) }
        }
    }
}

@Suite struct AddressTests {
    @Test func whatAnAddressSends() throws {
        #expect(try Address(.key([], .getOrCreate)).headers() == ["actor-namespace": "default", "actor-resolve": "get-or-create"])
        let full = Address(.key(["a/b", ""], .create), namespace: "acme", input: Data([1]), params: Data([2, 3]))
        #expect(try full.headers() == [
            "actor-namespace": "acme", "actor-resolve": "create", "actor-key": "a%2Fb/~", "actor-input-bin": "AQ", "actor-params-bin": "AgM",
        ])
        #expect(try Address(.id("x1")).headers() == ["actor-namespace": "default", "actor-id": "x1"])
    }

    @Test func addressesThatCannotBe() {
        let large = Data(repeating: 0, count: 4097)
        for address in [
            Address(.id("")), Address(.id("a b")), Address(.id("é")), Address(.id("x"), input: Data()),
            Address(.key([], .get), input: Data()), Address(.key([], .getOrCreate), input: large), Address(.key([], .get), params: large),
            Address(.key([], .get), namespace: ""), Address(.key([], .get), namespace: "Acme"), Address(.key([], .get), namespace: "-a"),
            Address(.key([], .get), namespace: String(repeating: "a", count: 65)),
        ] {
            #expect(throws: AddressError.self) { try address.headers() }
        }
    }

    @Test func theURLOfAnActorsOwnHandler() throws {
        let base = try #require(URL(string: "http://host:1/"))
        let plain = try Address(.key(["a/b", ""], .getOrCreate)).url(base: base, service: "s.v1.S", path: "/x?y=1")
        #expect(plain.absoluteString == "http://host:1/actors/default/a%2Fb/~/@/s.v1.S/http/x?y=1")
        let full = try Address(.key([], .get), namespace: "acme", params: Data([0xfb, 0xff, 1])).url(base: base, service: "s.v1.S", path: "/x?y=1")
        #expect(full.absoluteString == "http://host:1/actors/acme/@/s.v1.S/http/x?y=1&resolve=get&params=-_8B")
        #expect(throws: AddressError.self) { try Address(.id("x")).url(base: base, service: "s", path: "/") }
        #expect(throws: AddressError.self) { try Address(.key([], .get)).url(base: base, service: "s", path: "x") }
        #expect(throws: AddressError.self) { try Address(.key([], .getOrCreate), input: Data()).url(base: base, service: "s", path: "/") }
    }
}
