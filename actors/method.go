// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Method is one RPC of a registered actor type.
type Method struct {
	// Spec is the RPC as connect describes it.
	Spec connect.Spec
	// Type is the actor type's name.
	Type string
	// Subscription says that the RPC is the type's subscription.
	Subscription bool
	// ReadOnly says that the RPC is declared NO_SIDE_EFFECTS: it runs beside
	// other read-only ones and never commits.
	ReadOnly bool
	// Internal says that only actors may call the RPC: the edge must refuse it.
	Internal bool

	timeout time.Duration // of a turn, unless 0

	owner  *actorType
	index  int // among the type's methods, in the order of their registration
	input  protoreflect.MessageType
	output protoreflect.MessageType
}

// NewRequest returns a fresh request message.
func (m *Method) NewRequest() proto.Message { return m.input.New().Interface() }
