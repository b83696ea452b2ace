// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SwiftProtobuf
import TroupeCore

extension EventInfo {
    /// What an event says of itself: its field of the type troupe.v1.EventInfo, whatever
    /// module that was generated into. An event without one has nothing to say.
    init(of event: some SwiftProtobuf.Message) {
        var finder = InfoFinder()
        try? event.traverse(visitor: &finder)
        self = finder.info ?? EventInfo()
    }
}

/// Looks for the field, and at nothing else.
private struct InfoFinder: Visitor {
    var info: EventInfo?

    mutating func visitSingularMessageField<M: SwiftProtobuf.Message>(value: M, fieldNumber: Int) throws {
        if M.protoMessageName == "troupe.v1.EventInfo" {
            info = try EventInfo(protobuf: value.serializedBytes())
        }
    }

    mutating func visitUnknown(bytes: Data) throws {}
    mutating func visitSingularDoubleField(value: Double, fieldNumber: Int) throws {}
    mutating func visitSingularInt64Field(value: Int64, fieldNumber: Int) throws {}
    mutating func visitSingularUInt64Field(value: UInt64, fieldNumber: Int) throws {}
    mutating func visitSingularBoolField(value: Bool, fieldNumber: Int) throws {}
    mutating func visitSingularStringField(value: String, fieldNumber: Int) throws {}
    mutating func visitSingularBytesField(value: Data, fieldNumber: Int) throws {}
    mutating func visitSingularEnumField<E: SwiftProtobuf.Enum>(value: E, fieldNumber: Int) throws {}
    mutating func visitMapField<K, V: MapValueType>(
        fieldType: _ProtobufMap<K, V>.Type, value: _ProtobufMap<K, V>.BaseType, fieldNumber: Int
    ) throws {}
    mutating func visitMapField<K, V>(
        fieldType: _ProtobufEnumMap<K, V>.Type, value: _ProtobufEnumMap<K, V>.BaseType, fieldNumber: Int
    ) throws where V.RawValue == Int {}
    mutating func visitMapField<K, V>(
        fieldType: _ProtobufMessageMap<K, V>.Type, value: _ProtobufMessageMap<K, V>.BaseType, fieldNumber: Int
    ) throws {}
}
