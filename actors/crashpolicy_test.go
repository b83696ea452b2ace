// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
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
			var broken atomic.Bool
			k := newKit(t, nil, actors.CrashPolicy(test.policy), actors.SleepAfter(5*time.Second), actors.OnDestroy(d.hook("destroy")),
				actors.OnWake(func(*counter, context.Context) error {
					d.note("wake")
					if broken.Load() {
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
			broken.Store(true)
			_, err := k.count(t.Context(), "a")
			wantFailure(t, err, internal)
			pass(time.Second)
			if got := d.take(); len(got) < min(test.rewakes, 3) || len(got) > test.rewakes {
				t.Errorf("after a wake that failed the hooks were %v", got)
			}
			if present() != test.survives {
				t.Errorf("after a wake that failed the actor is there: %v", present())
			}
			broken.Store(false)
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

// TestP44_ARestartIsTriedAgain has an actor crash while the store cannot be read, which
// says nothing of the actor; and one crash in an action that only reads.
func TestP44_ARestartIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		s := &unreadable{Store: memory.New(memory.Options{})}
		k := newKit(t, s, actors.CrashPolicy(actors.CrashRestart), actors.SleepAfter(time.Hour), actors.OnWake(func(*counter, context.Context) error {
			d.note("wake")
			return nil
		}))
		k.mustAdd("a", 1)
		d.take()
		s.away.Store(true)
		wantFailure(t, k.fail(t.Context(), "a", 1, true), internal)
		pass(10 * time.Second)
		if got := d.take(); len(got) != 0 {
			t.Fatalf("while the store was away: %v", got)
		}
		s.away.Store(false)
		pass(maxRestartPause)
		if got := d.take(); len(got) != 1 {
			t.Errorf("after the store was back: %v, want one wake", got)
		}

		k.get = func(context.Context, *counter) error { panic("a reader") }
		_, err := k.count(t.Context(), "a")
		wantFailure(t, err, internal)
		pass(time.Second)
		if got := d.take(); len(got) != 1 {
			t.Errorf("after a panic of a reader: %v, want one wake", got)
		}
	})
}

// maxRestartPause is longer than any pause before another restart.
const maxRestartPause = time.Minute

// unreadable is a store of which records cannot be read for a while.
type unreadable struct {
	store.Store

	away atomic.Bool
}

func (s *unreadable) Load(ctx context.Context, addr store.Address) (store.Record, error) {
	if s.away.Load() {
		return store.Record{}, errors.New("the disk is away")
	}
	return s.Store.Load(ctx, addr)
}
