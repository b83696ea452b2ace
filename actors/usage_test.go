// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	varint "encoding/binary"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// keeps returns the bytes that an actor's counter says, and what its rows really have.
func keeps(t *testing.T, k *kit, key string) (counted, kept int64) {
	t.Helper()
	record, err := k.store.Load(t.Context(), k.to(counterv1connect.CounterGetProcedure, key, nil).Address)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []store.Kind{store.KindKV, store.KindSchedule, store.KindOutbox} {
		rows, err := k.store.Scan(t.Context(), record.ID, kind, store.Range{})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if kind == store.KindSchedule && string(row.Key) == "\x00b" {
				n, _ := varint.Uvarint(row.Value)
				counted = int64(n)
				continue
			}
			kept += int64(len(row.Key) + len(row.Value))
		}
	}
	return counted, kept
}

// TestStorageIsCounted holds that the counter of an actor's bytes is exact, whatever
// turns do, fail at, and run ahead of.
func TestStorageIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		k := newKit(t, s, actors.SleepAfter(10*time.Second))
		one := &counterv1.IncrementRequest{Amount: 1}
		exact := func(what string) {
			t.Helper()
			synctest.Wait()
			if counted, kept := keeps(t, k, "a"); counted != kept || kept == 0 {
				t.Errorf("%s: %d bytes are counted and there are %d", what, counted, kept)
			}
		}
		put := func(key string, size int) func(context.Context, *counter) error {
			return func(_ context.Context, c *counter) error { return c.KV().Put([]byte(key), make([]byte, size)) }
		}
		k.mustTurn("a", put("k", 100))
		exact("a new pair")
		k.mustTurn("a", put("k", 10))
		exact("a smaller one in its place")
		k.mustTurn("a", func(ctx context.Context, c *counter) error {
			if _, _, err := c.KV().Get(ctx, []byte("k")); err != nil {
				return err
			}
			if err := c.KV().Put([]byte("k"), make([]byte, 70)); err != nil {
				return err
			}
			return c.KV().Put([]byte("k"), make([]byte, 71))
		})
		exact("one that was read, and written twice")
		if err := k.turn("a", func(ctx context.Context, c *counter) error {
			_ = put("lost", 500)(ctx, c)
			return errors.New("no")
		}); err == nil {
			t.Error("the turn did not fail")
		}
		exact("a turn that failed")
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			return c.KV().Put(fmt.Append(nil, "k", req.GetAmount()%7), make([]byte, 10*req.GetAmount()))
		}
		for n := range int64(20) {
			go func() {
				if _, err := k.add(t.Context(), "a", n); err != nil {
					t.Error(err)
				}
			}()
		}
		exact("turns that share commits")
		k.mustTurn("a", func(_ context.Context, c *counter) error {
			if _, err := c.Schedule().Every(time.Minute, counterv1connect.CounterIncrementProcedure, one, actors.Name("every")); err != nil {
				return err
			}
			for range 3 {
				if err := c.Outbox().Send(actors.Peer{Key: []string{"b"}}, counterv1connect.CounterIncrementProcedure, one); err != nil {
					return err
				}
			}
			return nil
		})
		exact("a schedule and messages")
		pass(5*time.Minute + time.Second)
		exact("after runs and deliveries, asleep and awake")
		k.mustTurn("a", func(_ context.Context, c *counter) error {
			_, err := c.Schedule().Cancel("every")
			return errors.Join(err, c.KV().Delete([]byte("k"), []byte("k1"), []byte("never")))
		})
		exact("deletions")
		k.stop()
		k = newKit(t, s.Reopen())
		k.mustTurn("a", put("k2", 1))
		exact("another process")
	})
}

// TestStorageIsBounded holds that an actor which is full can only shrink.
func TestStorageIsBounded(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, actors.MaxStorageBytes(1000))
	put := func(key string, size int) func(context.Context, *counter) error {
		return func(_ context.Context, c *counter) error { return c.KV().Put([]byte(key), make([]byte, size)) }
	}
	k.mustTurn("a", put("one", 900))
	wantFailure(t, k.turn("a", put("two", 200)), failure{connect.CodeResourceExhausted, "actor_storage_full", notExecuted})
	k.mustTurn("a", put("one", 500))
	k.mustTurn("a", put("two", 200))
	wantFailure(t, k.turn("a", put("one", 900)), failure{connect.CodeResourceExhausted, "actor_storage_full", notExecuted})
	k.increment = nil
	k.mustAdd("a", 1)
	k.mustTurn("a", func(_ context.Context, c *counter) error { return c.KV().Delete([]byte("one")) })
	k.mustTurn("a", put("one", 600))
}

// TestStorageIsBoundedBesideTheActor holds that what runs beside an actor keeps to the
// bound too, and what the runtime keeps book of does not have to.
func TestStorageIsBoundedBesideTheActor(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, actors.MaxStorageBytes(1000))
	answers := make(chan error, 1)
	k.mustTurn("a", func(_ context.Context, c *counter) error {
		c.Go(func(ctx context.Context) {
			answers <- c.Turn(ctx, func(context.Context) error { return c.KV().Put([]byte("k"), make([]byte, 2000)) })
		})
		return nil
	})
	err := await(t, "answer of Turn", answers)
	wantReason(t, err, connect.CodeResourceExhausted, "actor_storage_full")
	if got := k.pairs("a", actors.Range{}); got != "[]" {
		t.Errorf("the actor keeps %.20q", got)
	}
}
