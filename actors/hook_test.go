// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
)

// TestP47_APanicInAHookEndsWhatItServesOnly has each piece of the author's code panic
// once, and the actor go on from what it was.
func TestP47_APanicInAHookEndsWhatItServesOnly(t *testing.T) {
	t.Parallel()
	var panics atomic.Bool
	once := func() error {
		if panics.CompareAndSwap(true, false) {
			panic("a hook that panics")
		}
		return nil
	}
	lifecycle := func(*counter, context.Context) error { return once() }
	connection := func(*counter, context.Context, *actors.Conn) error { return once() }
	add := func(k *kit) error { _, err := k.add(k.tb.Context(), "a", 1); return err }
	destroy := func(k *kit) error {
		_, err := k.Destroy(k.tb.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Target)
		return err
	}
	subscribe := func(k *kit) error {
		sub, err := k.Subscribe(k.tb.Context(), k.to(counterv1connect.CounterSubscribeProcedure, "a", new(counterv1.SubscribeRequest)))
		if err == nil {
			sub.Close()
		}
		return err
	}
	// start has the action begin something that panics, and waits until it is over.
	start := func(begin func(c *counter) error) func(*kit) error {
		return func(k *kit) error {
			k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
				if _, scheduled := actors.ScheduleOf(ctx); scheduled || actors.SubjectOf(ctx) != "" {
					return once()
				}
				if req.GetAmount() == 10 {
					return begin(c)
				}
				return nil
			}
			_, err := k.add(k.tb.Context(), "a", 10)
			pass(time.Minute)
			return err
		}
	}
	one := &counterv1.IncrementRequest{Amount: 1}
	work := func(context.Context) { _ = once() }
	internal := failure{connect.CodeInternal, "internal", notExecuted}
	for name, test := range map[string]struct {
		hook    actors.Option
		do      func(*kit) error
		present bool    // the actor is there, and asleep, before
		want    failure // of do
		adds    int64   // do, in the end
	}{
		"create": {actors.OnCreate(func(*counter, context.Context, *counterv1.CounterInput) error { return once() }), add, false, internal, 0},
		"wake":   {actors.OnWake(lifecycle), add, true, internal, 0},
		"migrate": {actors.Migrate(func(_ context.Context, old *counterv1.CounterState) (*counterv1.CounterState, error) {
			return old, once()
		}), func(k *kit) error {
			seed(k.tb, k.store, "older", 0, encode(k.tb, &counterv1.CounterState{Count: 1}))
			_, err := k.add(k.tb.Context(), "older", 1)
			return err
		}, true, failure{connect.CodeFailedPrecondition, "actor_quarantined", notExecuted}, 0},
		"before connect": {actors.BeforeConnect(func(context.Context, actors.Attempt, *counterv1.SubscribeRequest) error {
			return once()
		}), add, true, internal, 0},
		"before response": {actors.BeforeActionResponse(func(*counter, context.Context, *actors.Method, proto.Message, proto.Message) error {
			return once()
		}), add, true, internal, 0},
		"state change": {actors.OnStateChange(lifecycle), add, true, internal, 0},
		"destroy":      {actors.OnDestroy(lifecycle), destroy, true, internal, 0},
		"connect":      {actors.OnConnect(connection), subscribe, true, internal, 0},
		"disconnect":   {actors.OnDisconnect(connection), subscribe, true, failure{}, 0},
		"sleep": {actors.OnSleep(lifecycle), func(*kit) error {
			pass(3 * time.Second)
			return nil
		}, true, failure{}, 0},
		"schedule": {nil, start(func(c *counter) error {
			_, err := c.Schedule().After(time.Second, counterv1connect.CounterIncrementProcedure, one)
			return err
		}), true, failure{}, 11},
		"message": {nil, start(func(c *counter) error {
			return c.Outbox().Send(actors.Peer{Key: c.Key()}, counterv1connect.CounterIncrementProcedure, one)
		}), true, failure{}, 11},
		"work":       {nil, start(func(c *counter) error { c.Go(work); return nil }), true, failure{}, 10},
		"wait until": {nil, start(func(c *counter) error { c.WaitUntil(work); return nil }), true, failure{}, 10},
		"turn of work": {nil, start(func(c *counter) error {
			c.Go(func(ctx context.Context) {
				if err := c.Turn(ctx, func(context.Context) error { c.State().Count++; return once() }); err == nil {
					t.Error("a turn that panicked went well")
				}
			})
			return nil
		}), true, failure{}, 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(name)
			options := []actors.Option{actors.SleepAfter(time.Second)}
			if test.hook != nil {
				options = append(options, test.hook)
			}
			k := newKit(t, nil, options...)
			want := int64(1)
			if test.present {
				k.mustAdd("a", 4)
				want += 4 + test.adds
				if name != "sleep" {
					pass(3 * time.Second)
				}
			}
			panics.Store(true)
			if err := test.do(k); test.want != (failure{}) {
				wantFailure(t, err, test.want)
			} else if err != nil {
				t.Fatal(err)
			}
			if panics.Load() {
				t.Fatal("the hook did not run")
			}
			pass(200 * time.Millisecond) // an actor that does not wake is left alone so long
			if got := k.mustAdd("a", 1); got != want {
				t.Errorf("%s: the count is %d, want %d", name, got, want)
			}
		})
	}
}

// TestP47_APanicInAStreamEndsItOnly panics in streaming actions, before and after
// their first message, and in the turns that they run.
func TestP47_APanicInAStreamEndsItOnly(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ask  func(ctx context.Context, a *talker, send func(string) error) error
		want troupev1.Outcome_Outcome
	}{
		"at once": {func(context.Context, *talker, func(string) error) error { panic("a stream that panics") }, notExecuted},
		"sent": {func(_ context.Context, _ *talker, send func(string) error) error {
			_ = send("one")
			panic("a stream that panics")
		}, notExecuted},
		"turn": {func(ctx context.Context, a *talker, _ func(string) error) error {
			return a.Turn(ctx, func(context.Context) error { a.State().Count++; panic("a turn that panics") })
		}, notExecuted},
		"read": {func(ctx context.Context, a *talker, _ func(string) error) error {
			return a.ReadTurn(ctx, func(context.Context) error { panic("a turn that panics") })
		}, notExecuted},
		"after a turn": {func(ctx context.Context, a *talker, _ func(string) error) error {
			_ = a.Turn(ctx, a.count)
			panic("a stream that panics")
		}, committed},
	} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(name)
			k := newTalkers(t, nil)
			k.mustDo()
			k.ask = test.ask
			wantFailure(t, <-k.asks("").ended, failure{connect.CodeInternal, "internal", test.want})
			want := int64(1)
			if test.want == committed {
				want++
			}
			k.mustCount(want)
			k.mustDo()
			k.mustCount(want + 1)
		})
	}
}

func TestAPanicInAReadGivesTheActorAFreshStruct(t *testing.T) {
	t.Parallel()
	var d diary
	k := newKit(t, nil, d.options()...)
	k.mustAdd("a", 1)
	k.get = func(context.Context, *counter) error { panic("a panic in a read") }
	_, err := k.count(t.Context(), "a")
	wantFailure(t, err, failure{connect.CodeInternal, "internal", notExecuted})
	k.get = nil
	k.mustCount("a", 1)
	if got, want := d.take(), []string{"create", "wake", "wake"}; !slices.Equal(got, want) {
		t.Errorf("the hooks were %v, want %v", got, want)
	}
}
