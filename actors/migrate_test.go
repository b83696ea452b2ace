// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"bytes"
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
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// stored reads and changes what is stored of a counter behind its host's back.
func (k *kit) stored(key string) store.Record {
	k.tb.Helper()
	r, err := k.store.Load(k.tb.Context(), k.to(counterv1connect.CounterGetProcedure, key, nil).Address)
	if err != nil {
		k.tb.Fatal(err)
	}
	return r
}

func (k *kit) put(r store.Record) {
	k.tb.Helper()
	w := &store.Write{Op: store.OpUpdate, Expect: r.Revision, Record: r}
	if r.Revision == 0 {
		w.Op, w.Record.ID = store.OpCreate, store.NewID(store.ShardOf(r.Address, k.store.Info().Shards))
	}
	w.Record.Revision++
	k.store.Commit(k.tb.Context(), []*store.Write{w}).Wait()
	if w.Err != nil {
		k.tb.Fatal(w.Err)
	}
}

// seed stores a counter of an older or newer version.
func seed(tb testing.TB, s store.Store, key string, version uint32, state []byte) {
	tb.Helper()
	k := &kit{tb: tb, store: s}
	k.put(store.Record{
		Address:      store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: key},
		StateVersion: version, State: state, CreatedAt: time.Now(),
	})
}

func encode(tb testing.TB, message proto.Message) []byte {
	tb.Helper()
	data, err := proto.Marshal(message)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// steps are two migrations: the count was a CounterInput at first, and then in
// dozens.
func steps() []actors.Option {
	return []actors.Option{
		actors.Migrate(func(_ context.Context, old *counterv1.CounterInput) (*counterv1.CounterState, error) {
			if old.GetInitial() < 0 {
				return nil, errors.New("a counter below zero")
			}
			return &counterv1.CounterState{Count: old.GetInitial() * 12}, nil
		}),
		actors.Migrate(func(_ context.Context, state *counterv1.CounterState) (*counterv1.CounterState, error) {
			state.Count++
			return state, nil
		}),
	}
}

func TestMigrationsRunInOrderAndAreStored(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	seed(t, s, "first", 0, encode(t, &counterv1.CounterInput{Initial: 2}))
	seed(t, s, "second", 1, encode(t, &counterv1.CounterState{Count: 7}))
	var d diary
	k := newKit(t, s, append(steps(), actors.OnWake(d.hook("wake")))...)
	k.mustCount("first", 25) // a read is enough
	k.mustCount("second", 8)
	k.mustAdd("new", 1)
	for key, want := range map[string]int64{"first": 25, "second": 8, "new": 1} {
		r, state := k.stored(key), new(counterv1.CounterState)
		if err := proto.Unmarshal(r.State, state); err != nil || state.GetCount() != want || r.StateVersion != 2 {
			t.Errorf("%s is stored as %v of version %d, want %d of 2 (%v)", key, state, r.StateVersion, want, err)
		}
	}
	k.stop()
	newKit(t, s, steps()...).mustCount("first", 25) // they do not run again
}

func TestStateVersionDropsOldSteps(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	seed(t, s, "old", 0, encode(t, &counterv1.CounterInput{Initial: 2}))
	seed(t, s, "newer", 1, encode(t, &counterv1.CounterState{Count: 7}))
	k := newKit(t, s, steps()[1], actors.StateVersion(2))
	k.mustCount("newer", 8)
	_, err := k.count(t.Context(), "old")
	wantFailure(t, err, failure{connect.CodeFailedPrecondition, "actor_quarantined", notExecuted})
}

// TestP42_StateOfANewerVersionIsRefusedUntouched has older code meet what newer
// code has written.
func TestP42_StateOfANewerVersionIsRefusedUntouched(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	seed(t, s, "a", 3, []byte("a layout that this code has never seen"))
	k := newKit(t, s, steps()...)
	before := k.stored("a")
	for range 3 {
		_, err := k.add(t.Context(), "a", 1)
		wantFailure(t, err, failure{connect.CodeFailedPrecondition, "state_too_new", notExecuted})
	}
	if after := k.stored("a"); after.Revision != before.Revision || !bytes.Equal(after.State, before.State) || after.StateVersion != 3 {
		t.Errorf("stored: %+v, was %+v", after, before)
	}
	k.mustAdd("b", 1)
	seed(t, s, "c", 3, nil)
	if _, err := k.Destroy(t.Context(), k.to(counterv1connect.CounterGetProcedure, "c", nil).Target); err != nil {
		t.Errorf("Destroy: %v", err)
	}
}

// TestP42_OldAndNewCodeAlternate has two versions of the code take turns on one
// actor. The newer one keeps a name in a field that the older one does not know.
func TestP42_OldAndNewCodeAlternate(t *testing.T) {
	t.Parallel()
	const nameField = 2000
	s := memory.New(memory.Options{})
	for n := range 6 {
		older := newKit(t, s)
		if got := older.mustAdd("a", 1); got != int64(2*n+1) {
			t.Fatalf("round %d: the older code counts %d", n, got)
		}
		older.stop()

		newer := newKit(t, s)
		newer.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error {
			state := c.State().ProtoReflect()
			want := strings.Repeat("x", n)
			if _, _, size := protowire.ConsumeTag(state.GetUnknown()); n > 0 && size < 0 {
				t.Fatalf("round %d: the field is gone", n)
			} else if n > 0 {
				if got, _ := protowire.ConsumeString(state.GetUnknown()[size:]); got != want {
					t.Errorf("round %d: the field is %q, want %q", n, got, want)
				}
			}
			state.SetUnknown(protowire.AppendString(protowire.AppendTag(nil, nameField, protowire.BytesType), want+"x"))
			return nil
		}
		if got := newer.mustAdd("a", 1); got != int64(2*n+2) {
			t.Fatalf("round %d: the newer code counts %d", n, got)
		}
		newer.stop()
	}
}

// TestP43_AFailingMigrationQuarantinesItsActorOnly has steps fail in every way.
func TestP43_AFailingMigrationQuarantinesItsActorOnly(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]actors.Option{
		"error": steps()[0],
		"panic": actors.Migrate(func(context.Context, *counterv1.CounterInput) (*counterv1.CounterState, error) {
			panic("a step that panics")
		}),
		"nil":    actors.Migrate(func(context.Context, *counterv1.CounterInput) (*counterv1.CounterState, error) { return nil, nil }), //nolint:nilnil // the point
		"decode": actors.Migrate(func(_ context.Context, old *counterv1.CounterState) (*counterv1.CounterState, error) { return old, nil }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memory.New(memory.Options{})
			state := encode(t, &counterv1.CounterInput{Initial: -1})
			if name == "decode" {
				state = []byte{0xff}
			}
			seed(t, s, "a", 0, state)
			k := newKit(t, s, step)
			for range 3 {
				_, err := k.add(t.Context(), "a", 1)
				wantFailure(t, err, failure{connect.CodeFailedPrecondition, "actor_quarantined", notExecuted})
			}
			if r := k.stored("a"); r.Revision != 1 || r.StateVersion != 0 || !bytes.Equal(r.State, state) {
				t.Errorf("stored: %+v", r)
			}
			k.mustAdd("b", 1)
		})
	}
}

func TestAMigrationPastItsLimitIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		seed(t, s, "a", 0, encode(t, &counterv1.CounterState{Count: 1}))
		slow := true
		k := newKit(t, s, actors.HookTimeouts{Migrate: time.Second},
			actors.Migrate(func(ctx context.Context, old *counterv1.CounterState) (*counterv1.CounterState, error) {
				if slow {
					<-ctx.Done()
				}
				return old, nil
			}))
		_, err := k.count(t.Context(), "a")
		wantFailure(t, err, failure{connect.CodeUnavailable, "hook_timeout", notExecuted})
		slow = false
		pass(time.Second)
		k.mustCount("a", 1)
	})
}
