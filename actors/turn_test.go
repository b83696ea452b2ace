// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

func TestAnActionChangesStateAndReplies(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	if got := k.mustAdd("a", 5); got != 5 {
		t.Fatalf("the first reply is %d, want 5", got)
	}
	if got := k.mustAdd("a", 2); got != 7 {
		t.Fatalf("the second reply is %d, want 7", got)
	}
	k.mustCount("a", 7)
	k.mustCount("b", 0)
}

func TestStateSurvivesTheHost(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	newKit(t, s).mustAdd("a", 5)
	newKit(t, s).mustCount("a", 5)
}

func TestP9_StateIsRestoredAfterAnErrorAndAPanic(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.mustAdd("a", 5)
	wantFailure(t, k.fail(t.Context(), "a", 100, false), failure{connect.CodeFailedPrecondition, "always_fails", notExecuted})
	k.mustCount("a", 5)
	err := k.fail(t.Context(), "a", 100, true)
	wantFailure(t, err, failure{connect.CodeInternal, "internal", notExecuted})
	if strings.Contains(err.Error(), "asked for") {
		t.Errorf("the caller sees the panic's text: %v", err)
	}
	k.mustCount("a", 5)
	if got := k.mustAdd("a", 1); got != 6 {
		t.Fatalf("the next reply is %d, want 6", got)
	}
}

func TestP50_OnlyAuthoredErrorsLeave(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error {
		return errors.New("canary-secret")
	}
	_, err := k.add(t.Context(), "a", 1)
	wantFailure(t, err, failure{connect.CodeInternal, "internal", notExecuted})
	wire, _ := errors.AsType[*connect.Error](err)
	if strings.Contains(wire.Message(), "canary") {
		t.Errorf("the caller sees %q", wire.Message())
	}
	k.mustCount("a", 0)
}

func TestP20_OneWritingTurnAtATimeInOrder(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	var inside, total atomic.Int64
	var order []int64
	k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error {
		if inside.Add(1) != 1 {
			t.Error("two writing turns at once")
		}
		order = append(order, c.State().GetCount()) // a race unless turns exclude each other
		inside.Add(-1)
		return nil
	}
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			for range 20 {
				if _, err := k.add(t.Context(), "a", 1); err != nil {
					t.Error(err)
					return
				}
				total.Add(1)
			}
		})
	}
	callers.Wait()
	k.mustCount("a", total.Load())
	for n, count := range order {
		if count != int64(n+1) {
			t.Fatalf("turn %d saw the count %d", n, count)
		}
	}
}

func TestP22_ReadOnlyTurnsRunTogetherAndNeverBesideAWriter(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.mustAdd("a", 1)
	var writing, reading atomic.Int64
	together := make(chan struct{}, 2)
	k.get = func(context.Context, *counter) error {
		if reading.Add(1) == 2 {
			together <- struct{}{}
			together <- struct{}{}
		}
		if writing.Load() != 0 {
			t.Error("a read beside a write")
		}
		<-together // both are here
		reading.Add(-1)
		return nil
	}
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() { k.mustCount("a", 1) })
	}
	readers.Wait()

	k.get = func(context.Context, *counter) error {
		if writing.Load() != 0 {
			t.Error("a read beside a write")
		}
		return nil
	}
	k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error {
		writing.Add(1)
		defer writing.Add(-1)
		return nil
	}
	var callers sync.WaitGroup
	for n := range 20 {
		callers.Go(func() {
			for range 50 {
				if n%2 == 0 {
					_, _ = k.add(t.Context(), "a", 1)
				} else {
					_, _ = k.count(t.Context(), "a")
				}
			}
		})
	}
	callers.Wait()
	k.mustCount("a", 501)
}

func TestP22_AWriteInAReadOnlyActionIsAnError(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.get = func(_ context.Context, c *counter) error {
		c.changed()
		return nil
	}
	_, err := k.count(t.Context(), "a")
	wantFailure(t, err, failure{connect.CodeInternal, "internal", notExecuted})
}

func TestP19_ACallThatLeavesTheQueueNeverRuns(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	running, release := make(chan struct{}), make(chan struct{})
	var ran atomic.Int64
	k.increment = func(_ context.Context, _ *counter, req *counterv1.IncrementRequest) error {
		if ran.Add(1); req.GetAmount() == 1 {
			close(running)
			<-release
		}
		return nil
	}
	first := make(chan error, 1)
	go func() { _, err := k.add(t.Context(), "a", 1); first <- err }()
	<-running
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() { _, err := k.add(ctx, "a", 10); second <- err }()
	cancel()
	wantFailure(t, <-second, failure{connect.CodeCanceled, "canceled", notExecuted})
	close(release)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	k.mustCount("a", 1)
	if ran.Load() != 1 {
		t.Errorf("%d turns ran, want 1", ran.Load())
	}
}

func TestP24_ACallerWhoLeavesDoesNotTearItsTurn(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	running, release := make(chan struct{}), make(chan struct{})
	k.increment = func(ctx context.Context, _ *counter, _ *counterv1.IncrementRequest) error {
		close(running)
		<-release
		return ctx.Err() // a turn's context does not end with its caller
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { _, err := k.add(ctx, "a", 1); left <- err }()
	<-running
	cancel()
	wantFailure(t, <-left, failure{connect.CodeCanceled, "canceled", unknown})
	close(release)
	k.mustCount("a", 1)
}

func TestP23_ATurnPastItsLimitIsSealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil, actors.ActionTimeout(2*time.Second))
		k.mustAdd("a", 1)
		release := make(chan struct{})
		var ended error
		k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error {
			<-ctx.Done()
			ended = ctx.Err()
			<-release // ignores it
			return nil
		}
		_, err := k.add(t.Context(), "a", 100)
		wantFailure(t, err, failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted})
		k.increment = nil
		// The actor is busy until the code returns; another one is not.
		if _, err := k.add(t.Context(), "b", 1); err != nil {
			t.Fatal(err)
		}
		_, err = k.add(t.Context(), "a", 1000)
		wantFailure(t, err, failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted})
		close(release)
		synctest.Wait()
		k.mustCount("a", 1)
		if !errors.Is(ended, context.DeadlineExceeded) {
			t.Errorf("the turn's context ended with %v", ended)
		}
	})
}

func TestACallersDeadlineSealsItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		k.increment = func(ctx context.Context, _ *counter, _ *counterv1.IncrementRequest) error {
			<-ctx.Done()
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := k.add(ctx, "a", 100)
		wantFailure(t, err, failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted})
		synctest.Wait()
		k.increment = nil
		k.mustCount("a", 0)
	})
}

func TestAFullMailboxRefuses(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, actors.MailboxSize(2))
	running, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error {
		once.Do(func() { close(running); <-release })
		return nil
	}
	var callers sync.WaitGroup
	callers.Go(func() { _, _ = k.add(t.Context(), "a", 1) })
	<-running
	refused := make(chan error, 8)
	for range 8 {
		callers.Go(func() {
			if _, err := k.add(t.Context(), "a", 1); err != nil {
				refused <- err
			}
		})
	}
	for range 6 {
		wantFailure(t, await(t, "refusal", refused), failure{connect.CodeResourceExhausted, "mailbox_full", notExecuted})
	}
	close(release)
	callers.Wait()
	k.mustCount("a", 3)
}

func TestStateLimit(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, actors.MaxStateBytes(3))
	k.mustAdd("a", 100)
	_, err := k.add(t.Context(), "a", 1<<40)
	wantFailure(t, err, failure{connect.CodeResourceExhausted, "state_too_large", notExecuted})
	k.mustCount("a", 100)
}

func TestAnUnimplementedMethodSaysSo(t *testing.T) {
	t.Parallel()
	registry := actors.NewRegistry()
	type partial struct {
		counterv1connect.UnimplementedCounterHandler
		actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]
	}
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *partial { return new(partial) })
	host, err := actors.NewHost(actors.Config{Registry: registry, Store: memory.New(memory.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	k := &kit{Host: host, tb: t, methods: map[string]*actors.Method{}}
	t.Cleanup(k.stop)
	for _, m := range host.Methods() {
		k.methods[m.Spec.Procedure] = m
	}
	_, err = k.add(t.Context(), "a", 1)
	wantFailure(t, err, failure{connect.CodeUnimplemented, "unimplemented", notExecuted})
}

func TestAMethodsResponseHeadersAreKeptWithItsReply(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.increment = func(ctx context.Context, _ *counter, req *counterv1.IncrementRequest) error {
		info, ok := connect.CallInfoForServerContext(ctx)
		if !ok || info.RequestHeader().Get("color") != "red" {
			return errors.New("the caller's metadata is not there")
		}
		info.ResponseHeader().Set("shade", "dark")
		if req.GetAmount() < 0 {
			return actors.Errorf(connect.CodeInvalidArgument, "negative", "no")
		}
		return nil
	}
	for _, amount := range []int64{1, -1} {
		inner, outer := connect.NewServer(), new(connect.CallInfo)
		outer.RequestHeader().Set("color", "red")
		inner.Register(connect.Method{Spec: connect.Spec{Procedure: "/edge"}, Handler: func(ctx context.Context, _ connect.Spec, _ connect.ServerStream) error {
			call := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: amount})
			call.Info = outer
			reply, err := k.Call(ctx, call)
			if (err == nil) != (amount > 0) {
				t.Errorf("Increment by %d: %v", amount, err)
			}
			if got := reply.Header.Get("shade"); (got == "dark") != (amount > 0) {
				t.Errorf("Increment by %d has the header %q", amount, got)
			}
			return nil
		}})
		if err := inner.Call(t.Context(), "/edge", outer, nil); err != nil {
			t.Fatal(err)
		}
		if outer.ResponseHeader().Len() != 0 {
			t.Error("the method wrote to its caller's own headers")
		}
	}
}

// TestReplyTooLarge holds that a turn whose reply is larger than allowed leaves nothing.
func TestReplyTooLarge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set, limit int
	}{
		"by default": {0, 4 << 20},
		"lower":      {1000, 1000},
		"higher":     {5 << 20, 5 << 20},
	} {
		k := startKit(t, &kit{configure: func(cfg *actors.Config) { cfg.MaxReplyBytes = c.set }})
		add := func(size int) error {
			call := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 5})
			call.Codec = padded{size: size}
			_, err := k.Call(t.Context(), call)
			return err
		}
		if got, want := failureOf(t, add(c.limit+1)), (failure{connect.CodeResourceExhausted, "reply_too_large", notExecuted}); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if err := add(c.limit); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		k.mustCount("a", 5)
	}
}
