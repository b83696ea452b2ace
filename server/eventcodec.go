// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"strconv"

	"github.com/troupe-dev/troupe/actors"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// eventCodec encodes the frames of a subscription as events of a text/event-stream:
// the cursor as the id, the field of the union as the event's name, the whole frame
// in JSON as its data. So an event is encoded once for all who take it in this form.
type eventCodec struct{ json *jsonCodec }

var _ actors.Codec = (*eventCodec)(nil)

// Name implements [actors.Codec].
func (*eventCodec) Name() string { return eventStreamType }

// Append implements [actors.Codec].
func (c *eventCodec) Append(dst []byte, message proto.Message) ([]byte, error) {
	var info *troupev1.EventInfo
	var name string
	message.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.ContainingOneof() != nil {
			name = field.JSONName()
		} else if field.Message() != nil {
			if found, ok := value.Message().Interface().(*troupev1.EventInfo); ok {
				info = found
			}
		}
		return true
	})
	switch control := info.GetControl().(type) {
	case *troupev1.EventInfo_Heartbeat:
		// An event without data only moves the id.
		dst = append(dst, ": heartbeat\nid: "...)
		dst = append(dst, info.GetCursor()...)
		return append(dst, "\n\n"...), nil
	case *troupev1.EventInfo_Opened:
		name = "opened"
	case *troupev1.EventInfo_Closing:
		name = "closing"
		if after := control.Closing.GetReconnectAfter(); after != nil {
			dst = append(dst, "retry: "...)
			dst = strconv.AppendInt(dst, after.AsDuration().Milliseconds(), 10)
			dst = append(dst, '\n')
		}
	}
	dst = append(dst, "id: "...)
	dst = append(dst, info.GetCursor()...)
	dst = append(dst, "\nevent: "...)
	dst = append(dst, name...)
	dst = append(dst, "\ndata: "...)
	dst, err := c.json.Append(dst, message) // in one line
	return append(dst, "\n\n"...), err
}
