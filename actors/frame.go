// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// envelopeBytes is the prefix of a message in a stream of Connect, gRPC and
// gRPC-Web alike: a byte of flags and the length.
const envelopeBytes = 5

// Frame is one message of a subscription: an event or a control frame. It is
// encoded once per codec, however many subscribers it has, and is safe for
// concurrent use.
type Frame struct {
	// enveloped is the whole message in protobuf's binary encoding after its
	// envelope: EventInfo first, then the event, each encoded when it became
	// known.
	enveloped []byte
	union     protoreflect.MessageType
	field     protoreflect.FieldNumber // of the event; 0 for a frame that speaks of the stream
	slot      slot
	numbered  bool                     // the event is in the log, at head
	head      uint64                   // the log number that a subscriber has considered with it
	other     atomic.Pointer[encoding] // every encoding but "proto", newest first
}

// encoding is a frame in one more codec.
type encoding struct {
	codec     string
	enveloped []byte
	next      *encoding
}

// Enveloped returns the frame in the codec's encoding, as a stream carries it: a
// zero byte, the length in four bytes, the message. The caller must not change the
// bytes.
func (f *Frame) Enveloped(codec Codec) ([]byte, error) {
	name := codec.Name()
	if name == "proto" {
		return f.enveloped, nil
	}
	head := f.other.Load()
	for e := head; e != nil; e = e.next {
		if e.codec == name {
			return e.enveloped, nil
		}
	}
	message := newMessage(f.union)
	if err := proto.Unmarshal(f.enveloped[envelopeBytes:], message); err != nil {
		return nil, fmt.Errorf("decode a frame of our own: %w", err)
	}
	enveloped, err := codec.Append(make([]byte, envelopeBytes, 256), message)
	if err != nil {
		return nil, fmt.Errorf("encode a frame as %s: %w", name, err)
	}
	putEnvelope(enveloped)
	if !f.other.CompareAndSwap(head, &encoding{name, enveloped, head}) {
		return f.Enveloped(codec) // somebody else was first, perhaps with this codec
	}
	return enveloped, nil
}

// Encoded returns the message alone in the codec's encoding.
func (f *Frame) Encoded(codec Codec) ([]byte, error) {
	enveloped, err := f.Enveloped(codec)
	if err != nil {
		return nil, err
	}
	return enveloped[envelopeBytes:], nil
}

// size is what the frame takes in a buffer.
func (f *Frame) size() int { return len(f.enveloped) }

// putEnvelope fills in the envelope of an encoded message.
func putEnvelope(enveloped []byte) {
	enveloped[0] = 0
	binary.BigEndian.PutUint32(enveloped[1:], uint32(len(enveloped)-envelopeBytes))
}

// Field numbers of troupe.v1.EventInfo and google.protobuf.Timestamp.
const (
	infoCursor       = 1
	infoTime         = 2
	infoHead         = 3
	timestampSeconds = 1
	timestampNanos   = 2
)

// maxInfoBytes bounds an encoded EventInfo field of an event: tag and size, a
// cursor of 54 bytes, a time and a number.
const maxInfoBytes = 96

// eventHeadroom is the room that an encoded event leaves for what comes before it.
const eventHeadroom = envelopeBytes + maxInfoBytes

// encodeEvent encodes an event behind the room for its envelope and its info, and
// before the room for what its row in the log holds besides it.
func encodeEvent(event proto.Message) ([]byte, error) {
	options := proto.MarshalOptions{}
	size := options.Size(event)
	options.UseCachedSize = true
	return options.MarshalAppend(make([]byte, eventHeadroom, eventHeadroom+size+logTrailerBytes+logKeyBytes), event)
}

// infoWriter writes the EventInfo of the events of one turn, by hand: it is made
// for every event of every turn. Events of one number share it.
type infoWriter struct {
	union   *eventUnion
	cursors string // see cursorPrefix
	at      time.Time
	head    uint64
	encoded []byte // for head; empty if not made yet
	space   [maxInfoBytes]byte
}

// frame makes a frame of an encoded event, in the room before it.
func (w *infoWriter) frame(event []byte, head uint64) *Frame {
	event = slices.Clip(event) // what follows is the event's row
	if len(w.encoded) == 0 || w.head != head {
		w.encode(head)
	}
	start := eventHeadroom - len(w.encoded)
	copy(event[start:], w.encoded)
	enveloped := event[start-envelopeBytes:]
	putEnvelope(enveloped)
	return &Frame{enveloped: enveloped, union: w.union.message, head: head}
}

func (w *infoWriter) encode(head uint64) {
	var digits [16]byte
	number := strconv.AppendUint(digits[:0], head, 36)
	seconds, nanos := uint64(w.at.Unix()), uint64(w.at.Nanosecond())
	cursorSize := len(w.cursors) + len(number)
	timeSize := protowire.SizeTag(timestampSeconds) + protowire.SizeVarint(seconds) +
		protowire.SizeTag(timestampNanos) + protowire.SizeVarint(nanos)
	size := protowire.SizeTag(infoCursor) + protowire.SizeBytes(cursorSize) +
		protowire.SizeTag(infoTime) + protowire.SizeBytes(timeSize) +
		protowire.SizeTag(infoHead) + protowire.SizeVarint(head)

	b := protowire.AppendTag(w.space[:0], w.union.info, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = protowire.AppendTag(b, infoCursor, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(cursorSize))
	b = append(b, w.cursors...)
	b = append(b, number...)
	b = protowire.AppendTag(b, infoTime, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(timeSize))
	b = protowire.AppendTag(b, timestampSeconds, protowire.VarintType)
	b = protowire.AppendVarint(b, seconds)
	b = protowire.AppendTag(b, timestampNanos, protowire.VarintType)
	b = protowire.AppendVarint(b, nanos)
	b = protowire.AppendTag(b, infoHead, protowire.VarintType)
	w.encoded, w.head = protowire.AppendVarint(b, head), head
}

// controlFrame is a frame that holds an EventInfo and no event.
func (u *eventUnion) controlFrame(info *troupev1.EventInfo) (*Frame, error) {
	encoded, err := proto.Marshal(info)
	if err != nil {
		return nil, fmt.Errorf("encode a control frame: %w", err)
	}
	b := make([]byte, envelopeBytes, eventHeadroom+len(encoded))
	b = protowire.AppendTag(b, u.info, protowire.BytesType)
	b = protowire.AppendBytes(b, encoded)
	putEnvelope(b)
	return &Frame{enveloped: b, union: u.message, head: info.GetHead()}, nil
}
