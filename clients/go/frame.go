// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"errors"

	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var (
	eventInfoName = (*troupev1.EventInfo)(nil).ProtoReflect().Descriptor().FullName()
	errNotEvents  = errors.New("troupe: the stream's message has no troupe.v1.EventInfo field: it is not an event union")
)

// infoField returns the field of an event union that holds its EventInfo.
func infoField(union protoreflect.MessageDescriptor) (protoreflect.FieldDescriptor, error) {
	fields := union.Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !field.IsList() && !field.IsMap() && field.Message() != nil && field.Message().FullName() == eventInfoName {
			return field, nil
		}
	}
	return nil, errNotEvents
}

// infoOf returns the EventInfo of an event; an empty one if the event has none.
func infoOf(event protoreflect.Message, field protoreflect.FieldDescriptor) *troupev1.EventInfo {
	if !event.Has(field) {
		return nil
	}
	message := event.Get(field).Message().Interface()
	if info, ok := message.(*troupev1.EventInfo); ok {
		return info
	}
	info := new(troupev1.EventInfo) // the event is a dynamic message
	if data, err := proto.Marshal(message); err == nil {
		_ = proto.Unmarshal(data, info) // the same type, so what was marshalled unmarshals
	}
	return info
}
