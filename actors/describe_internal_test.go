// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

func TestHoldsMap(t *testing.T) {
	t.Parallel()
	for message, want := range map[proto.Message]bool{
		new(structpb.Struct):                  true,
		new(structpb.ListValue):               true, // within its values
		new(emptypb.Empty):                    false,
		new(descriptorpb.FileDescriptorProto): false, // holds itself
	} {
		d := message.ProtoReflect().Descriptor()
		if got := holdsMap(d, make(map[protoreflect.FullName]bool)); got != want {
			t.Errorf("%s: %v, want %v", d.FullName(), got, want)
		}
	}
}
