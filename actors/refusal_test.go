// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
)

// TestP46_OverloadIsRefusedAtOnceAndKeepsNothing calls an actor that is stuck in a
// turn, many times more often than calls may wait. The refusals come while it is
// stuck, nothing is kept of them, and those that waited are served in the end.
func TestP46_OverloadIsRefusedAtOnceAndKeepsNothing(t *testing.T) { //nolint:paralleltest // it measures the heap
	const waiting, calls, room = 4, 20_000, 1 << 20
	k := newKit(t, nil, actors.MailboxSize(waiting))
	running, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error {
		once.Do(func() { close(running); <-release })
		return nil
	}
	var callers sync.WaitGroup
	add := func() { _, _ = k.add(t.Context(), "a", 1) }
	callers.Go(add)
	<-running
	overload := func(calls int) {
		for range calls {
			_, err := k.add(t.Context(), "a", 1)
			wantFailure(t, err, failure{connect.CodeResourceExhausted, "mailbox_full", notExecuted})
		}
	}
	// The mailbox fills up: calls that wait do so, the others go home.
	refusals := make(chan error, waiting+1)
	for range waiting + 1 {
		callers.Go(func() {
			if _, err := k.add(t.Context(), "a", 1); err != nil {
				refusals <- err
			}
		})
	}
	_ = await(t, "refusal", refusals)
	overload(calls / 10)
	before := heap()
	overload(calls)
	if after := heap(); after > before+room {
		t.Errorf("%d refused calls left %d bytes", calls, after-before)
	}
	close(release)
	callers.Wait()
	k.mustCount("a", 1+waiting)
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what was in pools
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
