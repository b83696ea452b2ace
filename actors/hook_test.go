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
)

// TestP47_APanicInAHookEndsWhatItServesOnly has each hook panic once, and the actor
// go on from what it was.
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
	for name, test := range map[string]struct {
		hook    actors.Option
		do      func(*kit) error
		present bool // the actor is there, and asleep, before
		refuses bool
	}{
		"create": {actors.OnCreate(func(*counter, context.Context, *counterv1.CounterInput) error { return once() }), add, false, true},
		"wake":   {actors.OnWake(lifecycle), add, true, true},
		"before connect": {actors.BeforeConnect(func(context.Context, actors.Attempt, *counterv1.SubscribeRequest) error {
			return once()
		}), add, true, true},
		"destroy":    {actors.OnDestroy(lifecycle), destroy, true, true},
		"connect":    {actors.OnConnect(connection), subscribe, true, true},
		"disconnect": {actors.OnDisconnect(connection), subscribe, true, false},
		"sleep": {actors.OnSleep(lifecycle), func(*kit) error {
			pass(3 * time.Second)
			return nil
		}, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(name)
			k := newKit(t, nil, test.hook, actors.SleepAfter(time.Second))
			want := int64(1)
			if test.present {
				k.mustAdd("a", 4)
				want += 4
				if name != "sleep" {
					pass(3 * time.Second)
				}
			}
			panics.Store(true)
			if err := test.do(k); test.refuses {
				wantFailure(t, err, failure{connect.CodeInternal, "internal", notExecuted})
			} else if err != nil {
				t.Fatal(err)
			}
			if panics.Load() {
				t.Fatal("the hook did not run")
			}
			pass(200 * time.Millisecond) // an actor that does not wake is left alone so long
			if got := k.mustAdd("a", 1); got != want {
				t.Errorf("the count is %d, want %d", got, want)
			}
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
