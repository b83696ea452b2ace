// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// TestP19_ADeafHookHoldsNoCaller holds that a BeforeConnect hook which ignores its
// context keeps its caller neither past the caller's deadline nor past its own limit.
func TestP19_ADeafHookHoldsNoCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		k := newKit(t, nil, actors.BeforeConnect(func(context.Context, actors.Attempt, *counterv1.SubscribeRequest) error {
			<-release
			return nil
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := k.add(ctx, "a", 1)
		wantFailure(t, err, failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted})
		if took := time.Since(began); took != time.Second {
			t.Errorf("the caller waited %v for its deadline of 1 s", took)
		}
		began = time.Now()
		_, err = k.add(t.Context(), "a", 1)
		wantFailure(t, err, failure{connect.CodeUnavailable, "hook_timeout", notExecuted})
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("the caller waited %v for the hook's limit of 5 s", took)
		}
		close(release)
		if got, err := k.add(t.Context(), "a", 1); err != nil || got != 1 {
			t.Errorf("the hook goes well again: %d, %v", got, err)
		}
	})
}

// TestP25_AHookThatExitsLosesNoMessage holds that runtime.Goexit in a BeforeConnect
// hook fails one delivery and not the queue.
func TestP25_AHookThatExitsLosesNoMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var exits atomic.Int32
		k := newKit(t, nil, actors.BeforeConnect(func(_ context.Context, attempt actors.Attempt, _ *counterv1.SubscribeRequest) error {
			if attempt.Internal && exits.Add(1) == 1 {
				runtime.Goexit()
			}
			return nil
		}))
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			if req.GetAmount() != 10 {
				return nil
			}
			return c.Outbox().Send(actors.Peer{Key: []string{"b"}}, counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 1})
		}
		k.mustAdd("a", 10)
		pass(10 * time.Second)
		if exits.Load() != 2 {
			t.Errorf("the hook ran %d times for the message, want an attempt and a retry", exits.Load())
		}
		k.mustCount("b", 1)
	})
}
