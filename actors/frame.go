// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Frame is one message of a subscription: an event or a control frame. It is
// encoded once per codec, however many subscribers it has, and is safe for
// concurrent use.
type Frame struct {
	// binary is the whole message in protobuf's binary encoding: EventInfo
	// first, then the event, each encoded when it became known.
	binary []byte
	union  protoreflect.MessageType

	other sync.Map // codec name → encoded; every encoding but "proto"
}

// Encoded returns the frame in the codec's encoding. The caller must not change
// the bytes.
func (f *Frame) Encoded(codec Codec) ([]byte, error) {
	if codec.Name() == "proto" {
		return f.binary, nil
	}
	if encoded, ok := f.other.Load(codec.Name()); ok {
		return encoded.([]byte), nil //nolint:forcetypeassert // only encodings are stored
	}
	message := newMessage(f.union)
	if err := proto.Unmarshal(f.binary, message); err != nil {
		return nil, fmt.Errorf("decode a frame of our own: %w", err)
	}
	encoded, err := codec.Append(nil, message)
	if err != nil {
		return nil, fmt.Errorf("encode a frame as %s: %w", codec.Name(), err)
	}
	actual, _ := f.other.LoadOrStore(codec.Name(), encoded)
	return actual.([]byte), nil //nolint:forcetypeassert // only encodings are stored
}

// Field numbers of troupe.v1.EventInfo and google.protobuf.Timestamp.
const (
	infoCursor       = 1
	infoTime         = 2
	infoHead         = 3
	timestampSeconds = 1
	timestampNanos   = 2
)

// eventFrame puts an EventInfo before an encoded event. The info is written by
// hand: it is made for every event of every turn.
func (u *eventUnion) eventFrame(cursor string, at time.Time, head uint64, event []byte) *Frame {
	seconds, nanos := uint64(at.Unix()), uint64(at.Nanosecond()) //nolint:gosec // after 1970
	timeSize := protowire.SizeTag(timestampSeconds) + protowire.SizeVarint(seconds) +
		protowire.SizeTag(timestampNanos) + protowire.SizeVarint(nanos)
	size := protowire.SizeTag(infoCursor) + protowire.SizeBytes(len(cursor)) +
		protowire.SizeTag(infoTime) + protowire.SizeBytes(timeSize) +
		protowire.SizeTag(infoHead) + protowire.SizeVarint(head)

	b := make([]byte, 0, protowire.SizeTag(u.info)+protowire.SizeBytes(size)+len(event))
	b = protowire.AppendTag(b, u.info, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size)) //nolint:gosec // a size
	b = protowire.AppendTag(b, infoCursor, protowire.BytesType)
	b = protowire.AppendString(b, cursor)
	b = protowire.AppendTag(b, infoTime, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(timeSize)) //nolint:gosec // a size
	b = protowire.AppendTag(b, timestampSeconds, protowire.VarintType)
	b = protowire.AppendVarint(b, seconds)
	b = protowire.AppendTag(b, timestampNanos, protowire.VarintType)
	b = protowire.AppendVarint(b, nanos)
	b = protowire.AppendTag(b, infoHead, protowire.VarintType)
	b = protowire.AppendVarint(b, head)
	return &Frame{binary: append(b, event...), union: u.message}
}

// controlFrame is a frame that holds an EventInfo and no event.
func (u *eventUnion) controlFrame(info *troupev1.EventInfo) (*Frame, error) {
	encoded, err := proto.Marshal(info)
	if err != nil {
		return nil, fmt.Errorf("encode a control frame: %w", err)
	}
	b := protowire.AppendTag(nil, u.info, protowire.BytesType)
	return &Frame{binary: protowire.AppendBytes(b, encoded), union: u.message}, nil
}

// cursorText is the cursor after the event with the given number, for the
// incarnation whose id has the text id. It is opaque to clients.
func cursorText(id string, number uint64) string {
	return id + "-" + strconv.FormatUint(number, 36)
}
