// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// peer is a client of another counter, made inside a counter.
func (c *counter) peer(key ...string) counterv1connect.CounterClient {
	return counterv1connect.NewCounterClient(c.Actors().GetOrCreate(key...))
}

// outside is a client of a counter for the program that runs the host.
func (k *kit) outside(key ...string) counterv1connect.CounterClient {
	return counterv1connect.NewCounterClient(k.Actors("default").GetOrCreate(key...))
}

func TestP25_ADirectCallIsNotUndoneByItsCallersRollback(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
		if c.Key()[0] != "a" {
			return nil
		}
		if _, err := c.peer("b").Increment(ctx, &counterv1.IncrementRequest{Amount: req.GetAmount()}); err != nil {
			return err
		}
		return actors.Errorf(connect.CodeAborted, "changed_my_mind", "no")
	}
	_, err := k.add(t.Context(), "a", 5)
	wantFailure(t, err, failure{connect.CodeAborted, "changed_my_mind", notExecuted})
	k.mustCount("a", 0)
	k.mustCount("b", 5)
}

func TestADirectCallCarriesWhatACallCarries(t *testing.T) {
	t.Parallel()
	var subject, trace, own, key string
	var internal bool
	var deadline time.Time
	k := newKit(t, nil, actors.BeforeConnect(func(_ context.Context, attempt actors.Attempt, _ *counterv1.SubscribeRequest) error {
		internal = attempt.Internal
		return nil
	}))
	k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
		if c.Key()[0] == "b" {
			info, _ := connect.CallInfoForServerContext(ctx)
			trace, own, key = info.RequestHeader().Get("traceparent"), info.RequestHeader().Get("x-own"), info.RequestHeader().Get("actor-key")
			info.ResponseHeader().Set("x-reply", "here")
			subject = actors.SubjectOf(ctx)
			deadline, _ = ctx.Deadline()
			req.Amount++ // its own copy
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		want, _ := ctx.Deadline()
		ctx, info := connect.NewClientContext(ctx)
		info.RequestHeader().Set("x-own", "mine")
		info.RequestHeader().Set("actor-key", "elsewhere")
		reply, err := c.peer("b").Increment(ctx, req)
		if err != nil {
			return err
		}
		if reply.GetCount() != 5 || req.GetAmount() != 5 {
			t.Errorf("the reply is %v, and the request became %v", reply, req)
		}
		if !deadline.Equal(want) {
			t.Errorf("the deadline is %s, want %s", deadline, want)
		}
		header := info.ResponseHeader()
		if header.Get("x-reply") != "here" || header.Get("actor-id") == "" || header.Get("actor-cursor") == "" || header.Get("actor-created") != "true" {
			t.Errorf("the reply's metadata is %v", header)
		}
		return nil
	}
	call := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 5})
	call.Info = new(connect.CallInfo)
	call.Info.RequestHeader().Set("traceparent", "00-1-2-01")
	server := connect.NewServer()
	server.SetUnknownHandler(func(ctx context.Context, _ connect.Spec, _ connect.ServerStream) error {
		_, err := k.Call(ctx, call)
		return err
	})
	if err := server.Call(t.Context(), "", call.Info, nil); err != nil {
		t.Fatal(err)
	}
	if subject != "actor:counter.v1.Counter/a" || trace != "00-1-2-01" || own != "mine" || key != "" || !internal {
		t.Errorf("the callee saw subject %q, trace %q, header %q, key %q, internal %t", subject, trace, own, key, internal)
	}
}

func TestP50_TheErrorOfACalledActorLeavesOnlyByRelay(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	relay := false
	k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error {
		_, err := c.peer("b").Fail(ctx, new(counterv1.FailRequest))
		if wire, ok := errors.AsType[*connect.Error](err); !ok || !wire.IsRemote() || wire.Code() != connect.CodeFailedPrecondition {
			t.Errorf("the caller sees %#v", err)
		}
		if own, ok := errors.AsType[*actors.Error](err); ok {
			t.Errorf("the callee's own error %v is shared", own)
		}
		wantFailure(t, err, failure{connect.CodeFailedPrecondition, "always_fails", notExecuted})
		if relay {
			err = actors.Relay(err)
		}
		return err
	}
	_, err := k.add(t.Context(), "a", 1)
	wantFailure(t, err, failure{connect.CodeInternal, "internal", notExecuted})
	if strings.Contains(err.Error(), "always") {
		t.Errorf("the text leaks: %v", err)
	}
	relay = true
	_, err = k.add(t.Context(), "a", 1)
	wantFailure(t, err, failure{connect.CodeFailedPrecondition, "always_fails", notExecuted})
	if wire, _ := errors.AsType[*connect.Error](err); wire.IsRemote() || wire.Message() != "it always fails" {
		t.Errorf("the relayed error is %#v", err)
	}
}

// TestP10_ADirectCallWaitsForTheEarlierTurns holds the disk: the call may reveal what
// an earlier turn of its caller did.
func TestP10_ADirectCallWaitsForTheEarlierTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		k := newKit(t, faulty)
		left := make(chan int64, 1)
		k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
			switch {
			case c.Key()[0] == "b":
				left <- req.GetAmount()
			case req.GetAmount() > 1:
				_, err := c.peer("b").Increment(ctx, &counterv1.IncrementRequest{Amount: c.State().GetCount()})
				return err
			}
			return nil
		}
		hold := faulty.HoldWaits()
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "a", 1); first <- err }()
		synctest.Wait()
		go func() { _, err := k.add(t.Context(), "a", 10); second <- err }()
		synctest.Wait()
		if len(left) > 0 {
			t.Fatal("the call left before the turns that it reveals were durable")
		}
		hold.Release()
		if err := errors.Join(<-first, <-second); err != nil {
			t.Fatal(err)
		}
		if got := <-left; got != 11 {
			t.Errorf("the call told %d, want 11", got)
		}
	})
}

// TestADirectCallDoesNotWaitForACommitThatWaitsForIt has both turns run by one worker,
// which commits after them.
func TestADirectCallDoesNotWaitForACommitThatWaitsForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		k.mustAdd("a", 1)
		queued := make(chan struct{})
		k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
			switch {
			case c.Key()[0] == "b":
			case req.GetAmount() == 1:
				<-queued
			default:
				_, err := c.peer("b").Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
				return err
			}
			return nil
		}
		answers := make(chan error, 2)
		for n := range int64(2) {
			go func() { _, err := k.add(t.Context(), "a", n+1); answers <- err }()
			synctest.Wait()
		}
		begun := time.Now()
		close(queued)
		if err := errors.Join(<-answers, <-answers); err != nil || time.Since(begun) > 0 {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

// TestP12_ADirectCallOfATurnThatIsDiscardedDoesNotLeave fails the commit that the call
// waits for, and one that has failed before the call is made.
func TestP12_ADirectCallOfATurnThatIsDiscardedDoesNotLeave(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			faulty := storetest.NewFaulty(memory.New(memory.Options{}))
			k := newKit(t, faulty)
			k.mustAdd("a", 1)
			var failed error
			hold := faulty.HoldWaits()
			k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
				switch {
				case c.Key()[0] == "b":
					t.Error("the call has left")
				case req.GetAmount() > 1:
					if before {
						pass(2 * time.Second)
					}
					_, failed = c.peer("b").Increment(ctx, &counterv1.IncrementRequest{Amount: c.State().GetCount()})
					return failed
				}
				return nil
			}
			faulty.FailCommit(errors.New("disk full"))
			first, second := make(chan error, 1), make(chan error, 1)
			go func() { _, err := k.add(t.Context(), "a", 1); first <- err }()
			synctest.Wait()
			go func() { _, err := k.add(t.Context(), "a", 10); second <- err }()
			pass(time.Second)
			hold.Release()
			discarded := failure{connect.CodeAborted, "turn_discarded", notExecuted}
			wantFailure(t, <-first, discarded)
			wantFailure(t, <-second, discarded)
			wantFailure(t, failed, discarded)
			k.increment = nil
			k.mustCount("a", 1)
		})
	}
}

func TestDirectCallsFromReadsHooksAndOutside(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil,
		actors.OnCreate(func(c *counter, ctx context.Context, input *counterv1.CounterInput) error {
			c.State().Count = input.GetInitial()
			if c.Key()[0] != "a" {
				return nil
			}
			_, err := c.peer("log").Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
			return err
		}),
		actors.OnDestroy(func(c *counter, ctx context.Context) error {
			_, err := c.peer("log").Increment(ctx, &counterv1.IncrementRequest{Amount: 100})
			return err
		}))
	k.get = func(ctx context.Context, c *counter) error {
		if c.Key()[0] != "a" {
			return nil
		}
		_, err := c.peer("log").Increment(ctx, &counterv1.IncrementRequest{Amount: 10})
		return err
	}
	client := counterv1connect.NewCounterClient(k.Actors("default").Bind(actors.Peer{Key: []string{"a"}, Input: &counterv1.CounterInput{Initial: 7}}))
	if reply, err := client.Get(t.Context(), nil); err != nil || reply.GetCount() != 7 {
		t.Errorf("Get says %v, %v", reply, err)
	}
	if _, err := k.Destroy(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Target); err != nil {
		t.Fatal(err)
	}
	k.mustCount("log", 111)
}

func TestWhatAHandleRefuses(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	invalid := func(reason string) failure { return failure{connect.CodeInvalidArgument, reason, notExecuted} }
	id := store.NewID(1).String()
	handles := k.Actors("default")
	for name, test := range map[string]struct {
		client *connect.Client
		want   failure
	}{
		"namespace": {k.Actors("no such/namespace").GetOrCreate("a"), invalid("bad_namespace")},
		"key":       {handles.GetOrCreate("a\x00"), invalid("bad_actor_key")},
		"id":        {handles.ForID("what"), invalid("bad_actor_id")},
		"both":      {handles.Bind(actors.Peer{ID: id, Key: []string{"a"}}), invalid("address_conflict")},
		"absent":    {handles.Get("absent"), failure{connect.CodeNotFound, "actor_not_found", notExecuted}},
		"gone":      {handles.ForID(id), failure{connect.CodeNotFound, "actor_not_found", notExecuted}},
	} {
		_, err := counterv1connect.NewCounterClient(test.client).Get(t.Context(), new(counterv1.GetRequest))
		if got := failureOf(t, err); got != test.want {
			t.Errorf("%s: the error is %v, want %v", name, err, test.want)
		}
	}
	create := counterv1connect.NewCounterClient(handles.Create("new"))
	if _, err := create.Get(t.Context(), new(counterv1.GetRequest)); err != nil {
		t.Error(err)
	}
	_, err := create.Get(t.Context(), new(counterv1.GetRequest))
	wantFailure(t, err, failure{connect.CodeAlreadyExists, "actor_exists", notExecuted})
}

func TestP24_ACallWhoseCallerIsGivenUpDoesNotStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil, actors.ActionTimeout(2*time.Second))
		busy := make(chan struct{})
		k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error {
			if c.Key()[0] == "b" {
				<-busy
				return nil
			}
			_, err := c.peer("b").Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
			return err
		}
		late := failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted}
		first := make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "b", 1); first <- err }() // holds b
		synctest.Wait()
		pass(time.Second)
		_, err := k.add(t.Context(), "a", 1)
		wantFailure(t, err, late)
		wantFailure(t, <-first, late)
		close(busy)
		synctest.Wait()
		k.mustCount("b", 0)
	})
}

// TestABeforeConnectHookAsksAnActor, and one that asks the caller is part of its chain.
func TestABeforeConnectHookAsksAnActor(t *testing.T) {
	t.Parallel()
	ask := "door"
	k := newKit(t, nil, actors.BeforeConnect(func(ctx context.Context, attempt actors.Attempt, _ *counterv1.SubscribeRequest) error {
		if attempt.Key[0] != "b" {
			return nil
		}
		reply, err := counterv1connect.NewCounterClient(attempt.Actors().GetOrCreate(ask)).Get(ctx, new(counterv1.GetRequest))
		if err == nil && reply.GetCount() == 0 {
			err = actors.Errorf(connect.CodePermissionDenied, "closed", "the door is closed")
		}
		return err
	}))
	_, err := k.add(t.Context(), "b", 1)
	wantFailure(t, err, failure{connect.CodePermissionDenied, "closed", notExecuted})
	k.mustAdd("door", 1)
	k.mustAdd("b", 1)

	k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error {
		_, err := c.peer("b").Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
		return err
	}
	ask = "a"
	_, err = k.add(t.Context(), "a", 1)
	wantFailure(t, err, inCycle)
}

// TestP41_ATurnMayCallWhileTheHostStops: the host waits for the turn.
func TestP41_ATurnMayCallWhileTheHostStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		gate := make(chan struct{})
		k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
			if c.Key()[0] == "b" {
				return nil
			}
			<-gate
			_, err := c.peer("b").Increment(ctx, req)
			return err
		}
		added, stopped := make(chan error, 1), make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "a", 1); added <- err }()
		synctest.Wait()
		go func() { stopped <- k.Shutdown(t.Context()) }()
		synctest.Wait()
		_, err := k.outside("c").Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
		wantFailure(t, err, failure{connect.CodeUnavailable, "shutting_down", notExecuted})
		close(gate)
		if err := errors.Join(<-added, <-stopped); err != nil {
			t.Error(err)
		}
		if record, err := k.store.Load(t.Context(), k.address("b")); err != nil || record.Revision != 2 {
			t.Errorf("b has revision %d, %v", record.Revision, err)
		}
	})
}

func TestP17_ADirectCallHasAnIdempotencyKey(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	deposit := func(client counterv1connect.CounterClient, key string) (int64, error) {
		ctx, info := connect.NewClientContext(t.Context())
		info.RequestHeader().Set("Idempotency-Key", key)
		reply, err := client.Increment(ctx, &counterv1.IncrementRequest{Amount: 5})
		return reply.GetCount(), err
	}
	for range 2 {
		if got, err := deposit(k.outside("a"), "k"); got != 5 || err != nil {
			t.Errorf("the reply is %d, %v, want 5", got, err)
		}
	}
	k.mustCount("a", 5)
	_, err := deposit(k.outside("a"), strings.Repeat("k", 256))
	wantFailure(t, err, failure{connect.CodeInvalidArgument, "bad_idempotency_key", notExecuted})
}
