// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/proto"
)

var full = failure{connect.CodeResourceExhausted, "mailbox_full", notExecuted}

// TestP46_AMailboxIsBoundedInBytes lets requests wait up to the limit.
func TestP46_AMailboxIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	request := &counterv1.IncrementRequest{Amount: 1 << 40}
	k := newKit(t, nil, actors.MailboxBytes(3*proto.Size(request)))
	began, release := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error {
		if once.CompareAndSwap(false, true) {
			close(began)
			<-release
		}
		return nil
	}
	answers := make(chan error, 10)
	send := func() {
		call := k.to(counterv1connect.CounterIncrementProcedure, "a", proto.CloneOf(request))
		go func() { _, err := k.Call(t.Context(), call); answers <- err }()
	}
	send()
	await(t, "turn", began)
	// The first one that waits has nobody before it, and is let in whatever it has.
	for range 6 {
		send()
	}
	for range 2 {
		wantFailure(t, await(t, "refusal", answers), full)
	}
	close(release)
	for range 5 {
		if err := await(t, "reply", answers); err != nil {
			t.Error(err)
		}
	}
	if _, err := k.add(t.Context(), "a", 1); err != nil {
		t.Errorf("the mailbox is empty and refuses: %v", err)
	}
}

// TestP46_NobodyQueuesBehindAnOldCall lets calls wait behind a long turn for a while.
func TestP46_NobodyQueuesBehindAnOldCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error {
			pass(12 * time.Second)
			return nil
		}
		answers := make(chan error, 10)
		send := func() {
			go func() { _, err := k.add(t.Context(), "a", 1); answers <- err }()
			synctest.Wait()
		}
		send()
		send() // waits from now on
		pass(10 * time.Second)
		send()
		pass(time.Millisecond)
		send()
		wantFailure(t, <-answers, full)
		pass(2 * time.Second)
		send() // the one that waited longest runs
		for range 4 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestP46_WakesAreBounded has actors come into memory that take their time.
func TestP46_WakesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at, most atomic.Int32
		k := &kit{configure: func(cfg *actors.Config) { cfg.ConcurrentWakes = 4 }}
		startKit(t, k, actors.OnWake(func(*counter, context.Context) error {
			most.Store(max(most.Load(), at.Add(1)))
			pass(1500 * time.Millisecond)
			at.Add(-1)
			return nil
		}))
		answers := make(chan error, 20)
		for n := range 10 {
			go func() { _, err := k.add(t.Context(), fmt.Sprint(n), 1); answers <- err }()
		}
		refused := 0
		for range 10 {
			if err := <-answers; err != nil {
				wantFailure(t, err, failure{connect.CodeUnavailable, "too_many_wakes", notExecuted})
				refused++
			}
		}
		if most.Load() != 4 || refused != 2 {
			t.Errorf("%d woke at one time, of at most 4, and %d were refused, want 2", most.Load(), refused)
		}
	})
}

// TestP46_MemoryIsShed raises what the heap is said to hold, step by step.
func TestP46_MemoryIsShed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var live, cycle atomic.Uint64
		k := &kit{configure: func(cfg *actors.Config) {
			cfg.MemoryLimit = 100
			actors.WithLiveHeap(cfg, func() (uint64, uint64) { return live.Load(), cycle.Load() })
		}}
		startKit(t, k)
		awake := func() (n int) {
			for key := range 8 {
				d, _, err := k.Ensure(t.Context(), k.to(counterv1connect.CounterGetProcedure, fmt.Sprint(key), nil).Target, nil)
				if err != nil {
					t.Fatal(err)
				}
				if d.Awake {
					n++
				}
			}
			return n
		}
		to := func(share uint64) {
			live.Store(share)
			cycle.Add(1)
			pass(time.Second)
			synctest.Wait()
		}
		for key := range 8 {
			k.mustAdd(fmt.Sprint(key), 1)
			pass(time.Millisecond)
		}
		if to(59); awake() != 8 {
			t.Errorf("at 59 %%, %d of 8 are awake", awake())
		}
		if to(60); awake() != 6 {
			t.Errorf("at 60 %%, %d of 8 are awake, want 6", awake())
		}
		pass(3 * time.Second) // without another garbage collection
		if awake() != 6 {
			t.Errorf("without a new measure, %d of 8 are awake, want 6", awake())
		}
		for _, key := range []string{"0", "1"} { // the longest unused
			if d, _, _ := k.Ensure(t.Context(), k.to(counterv1connect.CounterGetProcedure, key, nil).Target, nil); d.Awake {
				t.Errorf("%s is awake", key)
			}
		}
		k.mustAdd("0", 1)
		short := failure{connect.CodeResourceExhausted, "memory_short", notExecuted}
		to(85)
		_, err := k.add(t.Context(), "1", 1)
		wantFailure(t, err, short)
		k.mustAdd("0", 1)
		to(95)
		_, err = k.add(t.Context(), "0", 1)
		wantFailure(t, err, short)
		k.mustCount("0", 3)
		to(10)
		k.mustAdd("1", 1)
	})
}
