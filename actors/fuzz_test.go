// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// FuzzCall has everything random that a caller sends past the edge as it is: the
// input, the parameters, the connection's token and the cursor. None of it is an
// internal error, and no token finds a connection of somebody else.
func FuzzCall(f *testing.F) {
	f.Add([]byte{8, 1}, []byte{}, "id.secret", "cursor", "key")
	f.Add([]byte{0xff}, []byte{10, 0xff}, ".", "", "auto-")
	f.Add([]byte(nil), []byte(nil), "", "0000000000000000000000000000000000.1", "")
	k := newKit(f, nil, actors.BeforeConnect(func(context.Context, actors.Attempt, *counterv1.SubscribeRequest) error { return nil }))
	f.Fuzz(func(t *testing.T, input, params []byte, conn, resume, idempotency string) {
		add := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 1})
		add.Input, add.Params, add.Conn, add.IdempotencyKey = input, params, conn, idempotency
		_, err := k.Call(t.Context(), add)
		if err != nil && connect.CodeOf(err) != connect.CodeInvalidArgument && connect.CodeOf(err) != connect.CodeFailedPrecondition {
			t.Errorf("Increment: %v", err)
		}
		if err == nil && conn != "" && idempotency == "" { // with a key it may be the reply of before
			t.Errorf("the token %q found a connection", conn)
		}
		open := k.to(counterv1connect.CounterSubscribeProcedure, "a", new(counterv1.SubscribeRequest))
		open.Resume = resume
		sub, err := k.Subscribe(t.Context(), open)
		if err == nil {
			sub.Close()
		} else if code := connect.CodeOf(err); code != connect.CodeInvalidArgument && code != connect.CodeOutOfRange {
			t.Errorf("Subscribe: %v", err)
		}
	})
}
