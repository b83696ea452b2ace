// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

// TestStressBesideTheActor has streams, supervised work and calls change one actor
// that sleeps, panics and fails to commit, and stops in the middle of it. What a
// Turn said is there, and nothing that it denied.
func TestStressBesideTheActor(t *testing.T) {
	t.Parallel()
	inner := memory.New(memory.Options{})
	faulty := storetest.NewFaulty(inner)
	k := newTalkers(t, faulty, actors.SleepAfter(time.Millisecond), actors.WaitUntilTimeout(time.Second),
		actors.OnSleep(func(*talker, context.Context) error { return nil }))
	var acked, unsure atomic.Int64
	account := func(err error) {
		switch {
		case err == nil:
			acked.Add(1)
		case failureOf(t, err).outcome != notExecuted:
			unsure.Add(1)
		}
	}
	count := func(ctx context.Context, a *talker) { account(a.Turn(ctx, a.count)) }
	k.ask = func(ctx context.Context, a *talker, send func(string) error) error {
		count(ctx, a)
		a.Go(func(ctx context.Context) {
			count(ctx, a)
			a.WaitUntil(func(ctx context.Context) { count(ctx, a) })
		})
		release := a.KeepAwake()
		defer release()
		_ = a.ReadTurn(ctx, func(context.Context) error { _ = a.State().GetCount(); return nil })
		return send("")
	}
	k.act = func(ctx context.Context, a *talker) error {
		if rand.IntN(20) == 0 {
			panic("now and then")
		}
		a.Go(func(ctx context.Context) { count(ctx, a) })
		return a.count(ctx)
	}
	until, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	var callers sync.WaitGroup
	for n := range 8 {
		callers.Go(func() {
			for until.Err() == nil {
				ctx, leave := context.WithCancel(t.Context())
				switch {
				case n < 4:
					l := k.asks("")
					if rand.IntN(4) == 0 {
						l.cancel()
					}
					<-l.ended
					l.cancel()
				case n == 4:
					time.Sleep(5 * time.Millisecond) //nolint:forbidigo // paces the faults of a stress test
					if rand.IntN(2) == 0 {
						faulty.FailCommit(errors.New("disk full"))
					} else {
						faulty.FailCommitAfter(store.ErrUnknown)
					}
				default:
					account(k.do(ctx))
				}
				leave()
			}
		})
	}
	callers.Wait()
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	if err := k.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	again := newTalkers(t, inner.Reopen())
	var got int64
	again.act = func(_ context.Context, a *talker) error { got = a.State().GetCount(); return nil }
	if err := again.do(t.Context()); err != nil && connect.CodeOf(err) != connect.CodeNotFound {
		t.Fatal(err)
	}
	if least, most := acked.Load(), acked.Load()+unsure.Load(); got < least || got > most || least == 0 {
		t.Errorf("the count is %d, want %d to %d", got, least, most)
	}
	t.Logf("%d turns, %d unsure", acked.Load(), unsure.Load())
}
