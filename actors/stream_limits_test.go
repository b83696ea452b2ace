// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, actors.MaxConnections(1))
	first := k.subscribe("a", nil)
	await(t, "opened frame", first.opened)
	refused := k.subscribe("a", nil)
	wantFailure(t, await(t, "refusal", refused.ended), failure{connect.CodeResourceExhausted, "too_many_connections", notExecuted})
	await(t, "opened frame", k.subscribe("b", nil).opened)
	first.cancel()
	<-first.ended
	await(t, "opened frame", k.subscribe("a", nil).opened)
}

func TestMaxStreamAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, memory.New(memory.Options{}))
		sub := k.subscribe("a", nil)
		await(t, "opened frame", sub.opened)
		began := time.Now()
		k.mustAdd("a", 1)
		cursor := await(t, "event", sub.frames).GetInfo().GetCursor()
		pass(66 * time.Minute)
		last := await(t, "closing frame", sub.closed)
		if last.GetReason() != troupev1.CloseReason_CLOSE_REASON_EXPIRED || last.GetReconnectAfter() == nil {
			t.Errorf("the stream closed with %v", last)
		}
		if age := sub.closingInfo.GetTime().AsTime().Sub(began); age < 54*time.Minute || age > 66*time.Minute {
			t.Errorf("the stream lasted %v", age)
		}
		if got := sub.closingInfo.GetCursor(); got != cursor {
			t.Errorf("the cursor is %q, want %q", got, cursor)
		}
		if err := await(t, "end", sub.ended); err != nil {
			t.Errorf("the stream ended with %v", err)
		}
	})
}
