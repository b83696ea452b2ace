// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
)

// TestP47_APanicWhileAnActorIsMadeEndsItsCallOnly panics in the author's
// constructor and in the validation of an input, both of which run in no hook.
func TestP47_APanicWhileAnActorIsMadeEndsItsCallOnly(t *testing.T) {
	t.Parallel()
	k := &kit{tb: t, methods: make(map[string]*actors.Method)}
	registry, made := actors.NewRegistry(), 0
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter {
		if made++; made == 2 { // the first is made by Register
			panic("a constructor that panics")
		}
		return &counter{kit: k}
	})
	host, err := actors.NewHost(actors.Config{
		Registry: registry,
		Store:    memory.New(memory.Options{}),
		Logger:   slog.New(slog.DiscardHandler),
		Validate: func(message proto.Message) error {
			if input, ok := message.(*counterv1.CounterInput); ok && input.GetInitial() < 0 {
				panic("a validation that panics")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	k.Host = host
	t.Cleanup(k.stop)
	for _, m := range host.Methods() {
		k.methods[m.Spec.Procedure] = m
	}
	internal := failure{connect.CodeInternal, "internal", notExecuted}
	_, err = k.add(t.Context(), "a", 1)
	wantFailure(t, err, internal)
	call := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 1})
	call.Input, _ = proto.Marshal(&counterv1.CounterInput{Initial: -1})
	_, err = k.Call(t.Context(), call)
	wantFailure(t, err, internal)
	if got := k.mustAdd("a", 1); got != 1 {
		t.Errorf("the first reply is %d, want 1", got)
	}
}

// TestP33_AStreamEndsWhenItsEventsMayHaveBeenLost has a commit stored whose answer
// is lost: the log goes on, and its subscribers have not seen all of it.
func TestP33_AStreamEndsWhenItsEventsMayHaveBeenLost(t *testing.T) {
	t.Parallel()
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	k := newKit(t, faulty)
	k.mustAdd("a", 1)
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)
	k.mustAdd("a", 1)
	seen := await(t, "event", sub.frames).GetInfo()
	faulty.FailCommitAfter(store.ErrUnknown)
	_, err := k.add(t.Context(), "a", 1)
	wantFailure(t, err, failure{connect.CodeUnavailable, "outcome_unknown", unknown})
	k.mustAdd("a", 1)
	select {
	case event := <-sub.frames:
		t.Fatalf("event %d came after event %d", event.GetInfo().GetHead(), seen.GetHead())
	case last := <-sub.closed:
		if last.GetReason() != troupev1.CloseReason_CLOSE_REASON_RESTARTED || last.GetReconnectAfter() == nil || sub.closingInfo.GetCursor() != seen.GetCursor() {
			t.Errorf("the stream closed with %v at %v, want %v", last, sub.closingInfo, seen)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the stream goes on")
	}
	resumed := k.subscribe("a", func(c *actors.Call, _ *recorder) { c.Resume = seen.GetCursor() })
	for want := int64(3); want <= 4; want++ { // the one whose commit was unknown was stored
		if got := await(t, "event", resumed.frames).GetCountChanged().GetCount(); got != want {
			t.Errorf("the event is %d, want %d", got, want)
		}
	}
}

func TestP23_AHookPastItsTimeLimitCommitsNothing(t *testing.T) {
	t.Parallel()
	late := failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted}
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil, actors.ActionTimeout(2*time.Second),
			actors.OnCreate(func(_ *counter, ctx context.Context, _ *counterv1.CounterInput) error { <-ctx.Done(); return nil }))
		_, err := k.add(t.Context(), "a", 1)
		wantFailure(t, err, late)
		synctest.Wait()
		if _, err := k.store.Load(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Address); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Load says %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		slow := false
		k := newKit(t, nil, actors.ActionTimeout(2*time.Second), actors.SleepAfter(time.Second),
			actors.OnWake(func(c *counter, ctx context.Context) error {
				if slow {
					slow = false
					c.State().Count = 1000
					<-ctx.Done()
				}
				return nil
			}))
		k.mustAdd("a", 1)
		pass(3 * time.Second)
		slow = true
		_, err := k.add(t.Context(), "a", 1)
		wantFailure(t, err, late)
		k.mustCount("a", 1)
	})
}

func TestWhatAWakeHookSendsArrives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil, actors.SleepAfter(time.Second), actors.OnWake(func(c *counter, _ context.Context) error {
			for _, conn := range c.Conns() {
				c.SendTo(conn, changed(1000)) // takes no number, so there is nothing to store
			}
			return nil
		}))
		sub := k.subscribe("a", nil)
		await(t, "opened frame", sub.opened)
		pass(3 * time.Second)
		k.mustAdd("a", 1)
		for _, want := range []int64{1000, 1} {
			if got := await(t, "event", sub.frames).GetCountChanged().GetCount(); got != want {
				t.Errorf("the event is %d, want %d", got, want)
			}
		}
		sub.cancel()
		<-sub.ended
	})
}

// TestP19_ACallWhoseTimeEndsBehindACommitNeverRuns has a call wait for the disk and
// for no turn that runs.
func TestP19_ACallWhoseTimeEndsBehindACommitNeverRuns(t *testing.T) {
	t.Parallel()
	needsDepth(t, 2)
	synctest.Test(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		k := newKit(t, faulty, actors.ActionTimeout(2*time.Second))
		k.mustAdd("a", 1)
		hold := faulty.HoldWaits()
		added, failed, late := make(chan error, 1), make(chan error, 1), make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "a", 1); added <- err }()
		synctest.Wait()
		go func() { failed <- k.fail(t.Context(), "a", 1, true) }() // the actor leaves memory
		synctest.Wait()
		go func() { _, err := k.add(t.Context(), "a", 100); late <- err }()
		pass(5 * time.Second)
		hold.Release()
		wantFailure(t, <-late, failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted})
		wantFailure(t, <-failed, failure{connect.CodeInternal, "internal", notExecuted})
		if err := <-added; err != nil {
			t.Error(err)
		}
		k.mustCount("a", 2)
	})
}

// TestP19_ACallWhoseTimeEndsAsItsTurnComesNeverRuns has the turn before it end after the
// call's time, and before the watchdog looks again.
func TestP19_ACallWhoseTimeEndsAsItsTurnComesNeverRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, late := newKit(t, nil, actors.ActionTimeout(2010*time.Millisecond)), 0
		k.increment = func(_ context.Context, _ *counter, req *counterv1.IncrementRequest) error {
			if req.GetAmount() == 1 {
				pass(2020 * time.Millisecond)
			} else {
				late++
			}
			return nil
		}
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "a", 1); first <- err }()
		synctest.Wait()
		go func() { _, err := k.add(t.Context(), "a", 100); second <- err }()
		<-first
		wantFailure(t, <-second, failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted})
		synctest.Wait()
		if late != 0 {
			t.Error("it ran")
		}
	})
}

func TestP10_EnsureSaysNothingThatIsNotDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		k := newKit(t, faulty)
		hold := faulty.HoldWaits()
		added, ensured := make(chan error, 1), make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "a", 1); added <- err }()
		synctest.Wait()
		target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
		target.Resolve = actors.Get
		go func() { _, _, err := k.Ensure(t.Context(), target, nil); ensured <- err }()
		synctest.Wait()
		if len(ensured) > 0 {
			t.Error("Ensure describes an actor that is not durable")
		}
		hold.Release()
		if err := errors.Join(<-added, <-ensured); err != nil {
			t.Error(err)
		}
	})
}

// TestP34_AStreamNeverShowsAnotherIncarnation has a destroy take effect whose answer
// is lost.
func TestP34_AStreamNeverShowsAnotherIncarnation(t *testing.T) {
	t.Parallel()
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	k := newKit(t, faulty, actors.OnDisconnect(func(*counter, context.Context, *actors.Conn) error {
		t.Error("the hook ran at an actor that the connection does not belong to")
		return nil
	}))
	k.mustAdd("a", 1)
	k.mustAdd("a", 1)
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)
	faulty.FailCommitAfter(store.ErrUnknown)
	_, err := k.Destroy(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Target)
	wantFailure(t, err, failure{connect.CodeUnavailable, "outcome_unknown", unknown})
	if got := k.mustAdd("a", 1); got != 1 {
		t.Fatalf("the count is %d, want 1", got)
	}
	if last := await(t, "closing frame", sub.closed); last.GetReconnectAfter() == nil {
		t.Errorf("the stream closed with %v", last)
	}
	if err := <-sub.ended; err != nil || len(sub.frames) > 0 {
		t.Errorf("the stream ended with %v after %d events", err, len(sub.frames))
	}
}

// TestAnActorThatEndsInItsFirstTurn creates and destroys in one batch.
func TestAnActorThatEndsInItsFirstTurn(t *testing.T) {
	t.Parallel()
	disk, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = disk.Close() })
	for name, inner := range map[string]store.Store{"memory": memory.New(memory.Options{}), "embedded": disk} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t, inner)
			k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error { c.Destroy(); return nil }
			var callers sync.WaitGroup
			for range 8 {
				callers.Go(func() {
					for range 20 {
						if got, err := k.add(t.Context(), "a", 7); err != nil || got != 7 {
							t.Errorf("the reply is %d, %v", got, err)
						}
					}
				})
			}
			callers.Wait()
			if _, err := inner.Load(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Address); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Load says %v", err)
			}
		})
	}
}
