// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"fmt"
	"sync"

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
	message := f.union.New().Interface()
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
