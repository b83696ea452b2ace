// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/proto"
)

func TestOnStateChangeIsAPartOfTheTurn(t *testing.T) {
	t.Parallel()
	var seen []int64
	fails := false
	k := newKit(t, nil, actors.OnStateChange(func(c *counter, _ context.Context) error {
		seen = append(seen, c.State().GetCount())
		if fails {
			return actors.Errorf(connect.CodeFailedPrecondition, "not_so", "the state must not be so")
		}
		c.State().Count += 100 // does not make it run again
		c.changed()
		return nil
	}))
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)
	if got := k.mustAdd("a", 1); got != 1 {
		t.Errorf("the reply is %d, want that of the action", got)
	}
	k.mustCount("a", 101)
	for _, want := range []int64{1, 101} {
		if got := await(t, "event", sub.frames).GetCountChanged().GetCount(); got != want {
			t.Errorf("the event is %d, want %d", got, want)
		}
	}
	wantFailure(t, k.fail(t.Context(), "a", 1, false), failure{connect.CodeFailedPrecondition, "always_fails", notExecuted})
	k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
		c.State().Count -= req.GetAmount() // the same as before
		return nil
	}
	k.mustAdd("a", 5)
	k.increment, fails = nil, true
	_, err := k.add(t.Context(), "a", 1)
	wantFailure(t, err, failure{connect.CodeFailedPrecondition, "not_so", notExecuted})
	k.mustCount("a", 101)
	if want := []int64{1, 102}; !slices.Equal(seen, want) {
		t.Errorf("the hook saw %v, want %v", seen, want)
	}
}

func TestBeforeActionResponseMayChangeTheReply(t *testing.T) {
	t.Parallel()
	fails := false
	k := newKit(t, nil, actors.BeforeActionResponse(func(c *counter, _ context.Context, method *actors.Method, request, response proto.Message) error {
		if fails {
			return actors.Errorf(connect.CodePermissionDenied, "secret", "not for you")
		}
		switch response := response.(type) {
		case *counterv1.IncrementResponse:
			if got := request.(*counterv1.IncrementRequest).GetAmount(); method.Name() != "Increment" || got != 5 {
				t.Errorf("the hook got %s with %d", method.Name(), got)
			}
			response.Count = 1000
			c.State().Count++ // in the action's turn
		case *counterv1.GetResponse:
			response.Count *= 2
		}
		return nil
	}))
	if got := k.mustAdd("a", 5); got != 1000 {
		t.Errorf("the reply is %d, want 1000", got)
	}
	k.mustCount("a", 12)
	fails = true
	refused := failure{connect.CodePermissionDenied, "secret", notExecuted}
	_, err := k.add(t.Context(), "a", 5)
	wantFailure(t, err, refused)
	_, err = k.count(t.Context(), "a")
	wantFailure(t, err, refused)
	fails = false
	k.mustCount("a", 12)
}

// TestP23_EachHookHasALimitOfItsOwn has each hook wait for the end of its context.
func TestP23_EachHookHasALimitOfItsOwn(t *testing.T) {
	t.Parallel()
	late := failure{connect.CodeUnavailable, "hook_timeout", notExecuted}
	add := func(k *kit) error { _, err := k.add(k.tb.Context(), "a", 1); return err }
	subscribe := func(k *kit) error {
		sub, err := k.Subscribe(k.tb.Context(), k.to(counterv1connect.CounterSubscribeProcedure, "a", new(counterv1.SubscribeRequest)))
		if err == nil {
			sub.Close()
		}
		return err
	}
	destroy := func(k *kit) error {
		_, err := k.Destroy(k.tb.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Target)
		return err
	}
	var slow atomic.Bool
	var ran atomic.Int64
	wait := func(ctx context.Context) error {
		if slow.Load() {
			ran.Add(1)
			<-ctx.Done()
		}
		return nil
	}
	hook := func(_ *counter, ctx context.Context) error { return wait(ctx) }
	connHook := func(_ *counter, ctx context.Context, _ *actors.Conn) error { return wait(ctx) }
	for name, test := range map[string]struct {
		hook   actors.Option
		limit  actors.HookTimeouts
		do     func(*kit) error
		asleep bool
		want   time.Duration
		silent bool // nobody waits for it
	}{
		"create": {actors.OnCreate(func(_ *counter, ctx context.Context, _ *counterv1.CounterInput) error { return wait(ctx) }),
			actors.HookTimeouts{}, func(k *kit) error { _, err := k.add(k.tb.Context(), "b", 1); return err }, false, 10 * time.Second, false},
		"wake":               {actors.OnWake(hook), actors.HookTimeouts{}, add, true, 10 * time.Second, false},
		"wake, set":          {actors.OnWake(hook), actors.HookTimeouts{Wake: time.Second}, add, true, time.Second, false},
		"destroy":            {actors.OnDestroy(hook), actors.HookTimeouts{}, destroy, false, 5 * time.Second, false},
		"connect":            {actors.OnConnect(connHook), actors.HookTimeouts{}, subscribe, false, 5 * time.Second, false},
		"disconnect":         {actors.OnDisconnect(connHook), actors.HookTimeouts{}, subscribe, false, 5 * time.Second, true},
		"state change":       {actors.OnStateChange(hook), actors.HookTimeouts{}, add, false, 5 * time.Second, false},
		"before the reply":   {actors.BeforeActionResponse(func(_ *counter, ctx context.Context, _ *actors.Method, _, _ proto.Message) error { return wait(ctx) }), actors.HookTimeouts{Action: 2 * time.Second}, add, false, 2 * time.Second, false},
		"before the connect": {actors.BeforeConnect(func(ctx context.Context, _ actors.Attempt, _ *counterv1.SubscribeRequest) error { return wait(ctx) }), actors.HookTimeouts{}, add, false, 5 * time.Second, false},
		"sleep": {actors.OnSleep(hook), actors.HookTimeouts{}, func(*kit) error {
			pass(2 * time.Second)
			for ran.Load() == 0 {
				pass(100 * time.Millisecond)
			}
			return nil
		}, false, 7 * time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(name)
			slow.Store(false)
			ran.Store(0)
			k := newKit(t, nil, test.hook, test.limit, actors.SleepAfter(time.Second))
			k.mustAdd("a", 1)
			if test.asleep {
				pass(3 * time.Second)
			}
			slow.Store(true)
			began := time.Now()
			switch err := test.do(k); {
			case !test.silent:
				wantFailure(t, err, late)
				if retryDelay(t, err) <= 0 {
					t.Error("the caller is not told when to try again")
				}
			case err != nil:
				t.Fatal(err)
			}
			if took := time.Since(began); took > test.want+200*time.Millisecond || !test.silent && took < test.want {
				t.Errorf("it took %v, want %v", took, test.want)
			}
			if ran.Load() != 1 {
				t.Errorf("the hook ran %d times", ran.Load())
			}
			slow.Store(false)
			pass(6 * time.Second)
			k.mustCount("a", 1)
		})
	}
}

// TestDestroyInAWakeHook has an actor end itself as it wakes, for a read and for a
// write.
func TestDestroyInAWakeHook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		expired := false
		var d diary
		k := newKit(t, nil, actors.SleepAfter(time.Second), actors.OnDestroy(d.hook("destroy")),
			actors.OnWake(func(c *counter, _ context.Context) error {
				if expired && c.State().GetCount() != 0 {
					c.Destroy()
				}
				return nil
			}))
		for _, read := range []bool{true, false} {
			k.mustAdd("a", 5)
			before := k.stored("a").ID
			pass(3 * time.Second)
			expired = true
			if read {
				k.mustCount("a", 0) // the next actor
			} else if got := k.mustAdd("a", 7); got != 7 {
				t.Errorf("the count is %d, want 7", got)
			}
			if k.stored("a").ID == before {
				t.Error("the actor is still there")
			}
			if got := d.take(); !slices.Equal(got, []string{"destroy"}) {
				t.Errorf("the hooks were %v", got)
			}
			expired = false
			if _, err := k.Destroy(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Target); err != nil {
				t.Fatal(err)
			}
			d.take()
		}
		k.mustAdd("a", 5)
		pass(3 * time.Second)
		expired = true
		call := k.to(counterv1connect.CounterGetProcedure, "a", new(counterv1.GetRequest))
		call.Resolve = actors.Get
		_, err := k.Call(t.Context(), call)
		wantFailure(t, err, failure{connect.CodeNotFound, "actor_not_found", notExecuted})
	})
}

func TestAnActorThatAlwaysDestroysItselfEndsItsCall(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, actors.OnWake(func(c *counter, _ context.Context) error { c.Destroy(); return nil }))
	_, err := k.count(t.Context(), "a")
	wantFailure(t, err, failure{connect.CodeAborted, "actor_destroyed", notExecuted})
	if _, err := k.store.Load(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Address); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Load says %v", err)
	}
}

// TestP47_GoexitEndsItsCallOnly has code of every sort end its goroutine.
func TestP47_GoexitEndsItsCallOnly(t *testing.T) {
	t.Parallel()
	for _, lent := range []bool{false, true} {
		t.Run(fmt.Sprintf("lent=%v", lent), func(t *testing.T) {
			t.Parallel()
			exits := false
			exit := func() error {
				if exits {
					exits = false
					runtime.Goexit()
				}
				return nil
			}
			waking := true
			k := newKit(t, memory.New(memory.Options{}), actors.OnWake(func(*counter, context.Context) error {
				if waking {
					return exit()
				}
				return nil
			}))
			k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error { return exit() }
			k.get = func(context.Context, *counter) error { return exit() }
			call := func(procedure string, request proto.Message) error {
				c := k.to(procedure, "a", request)
				answer := make(chan error, 1)
				if lent {
					c.Detach = func(err *connect.Error) { answer <- err }
				}
				go func() {
					if _, err := k.Call(t.Context(), c); err != nil || !exits {
						answer <- err
					}
				}()
				return await(t, "answer", answer)
			}
			add := func() error {
				return call(counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 1})
			}
			get := func() error { return call(counterv1connect.CounterGetProcedure, new(counterv1.GetRequest)) }
			if err := add(); err != nil {
				t.Fatal(err)
			}
			waking = false
			for name, do := range map[string]func() error{"write": add, "read": get} {
				exits = true
				if err := do(); err == nil {
					t.Fatalf("%s: no error", name)
				} else {
					wantFailure(t, err, internal)
				}
				k.mustCount("a", 1)
			}
			k.mustAdd("a", 1)
			wantFailure(t, k.fail(t.Context(), "a", 1, true), internal) // out of memory
			waking, exits = true, true
			wantFailure(t, get(), internal)
			wantFailure(t, get(), crashed)
		})
	}
}
