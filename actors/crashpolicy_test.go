// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

func TestP44_CrashPolicy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		policy   actors.CrashAction
		wakes    int // one second after a panic
		rewakes  int // one second after it failed to wake
		survives bool
	}{
		"sleep":   {actors.CrashSleep, 0, 1, true},
		"restart": {actors.CrashRestart, 1, 4, true}, // at 0, 0.1, 0.3 and 0.7 s or a little later
		"destroy": {actors.CrashDestroy, 0, 1, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(name)
			var d diary
			broken := false
			k := newKit(t, nil, actors.CrashPolicy(test.policy), actors.SleepAfter(5*time.Second), actors.OnDestroy(d.hook("destroy")),
				actors.OnWake(func(*counter, context.Context) error {
					d.note("wake")
					if broken {
						return errors.New("a wake that fails")
					}
					return nil
				}))
			present := func() bool {
				_, err := k.store.Load(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Address)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Fatal(err)
				}
				return err == nil
			}
			k.mustAdd("a", 1)
			d.take()
			wantFailure(t, k.fail(t.Context(), "a", 1, true), internal)
			pass(time.Second)
			if got := d.take(); len(got) != test.wakes || slices.Contains(got, "destroy") {
				t.Errorf("after a panic the hooks were %v", got)
			}
			if present() != test.survives {
				t.Errorf("after a panic the actor is there: %v", present())
			}

			k.mustAdd("a", 1)
			pass(10 * time.Second)
			d.take()
			broken = true
			_, err := k.count(t.Context(), "a")
			wantFailure(t, err, internal)
			pass(time.Second)
			if got := d.take(); len(got) < min(test.rewakes, 3) || len(got) > test.rewakes {
				t.Errorf("after a wake that failed the hooks were %v", got)
			}
			if present() != test.survives {
				t.Errorf("after a wake that failed the actor is there: %v", present())
			}
			broken = false
			pass(30 * time.Second)
			k.mustAdd("a", 1)
		})
	}
}

func TestP43_QuarantineOutlivesTheCrashPolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		seed(t, s, "a", 0, []byte{0xff})
		k := newKit(t, s, actors.CrashPolicy(actors.CrashDestroy))
		_, err := k.count(t.Context(), "a")
		wantFailure(t, err, quarantined)
		pass(time.Minute)
		if r := k.stored("a"); len(r.State) != 1 {
			t.Errorf("stored: %+v", r)
		}
	})
}
