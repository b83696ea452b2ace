// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

func TestShutdownWaitsForTurnsWhoseCallersHaveLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		inner := memory.New(memory.Options{})
		faulty := storetest.NewFaulty(inner)
		k := newKit(t, faulty, d.options()...)
		keys := []string{"a", "b", "c", "d"} // more than batches fly at once
		for _, key := range keys {
			k.mustAdd(key, 1)
		}
		d.take()
		hold := faulty.HoldWaits()
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for _, key := range keys {
			callers.Go(func() {
				_, err := k.add(ctx, key, 1)
				wantFailure(t, err, failure{connect.CodeCanceled, "canceled", unknown})
			})
			synctest.Wait()
		}
		cancel()
		callers.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- k.Shutdown(context.Background()) }()
		synctest.Wait()
		hold.Release()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if got, want := d.take(), []string{"sleep", "sleep", "sleep", "sleep"}; !slices.Equal(got, want) {
			t.Errorf("the hooks were %v, want %v", got, want)
		}
		k = newKit(t, inner)
		for _, key := range keys {
			k.mustCount(key, 2)
		}
	})
}

func TestShutdownWaitsForASubscriptionWhoseCallerHasLeft(t *testing.T) {
	t.Parallel()
	needsDepth(t, 2)
	synctest.Test(t, func(t *testing.T) {
		var d diary
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		k := newKit(t, faulty, connectionHooks(&d)...)
		k.mustAdd("a", 1)
		hold := faulty.HoldWaits()
		ctx, cancel := context.WithCancel(t.Context())
		added := make(chan error, 1)
		go func() { _, err := k.add(ctx, "a", 1); added <- err }()
		synctest.Wait()
		sub := k.subscribe("a", nil) // waits for the same commit
		synctest.Wait()
		cancel()
		sub.cancel()
		wantFailure(t, <-sub.ended, failure{connect.CodeCanceled, "canceled", unknown})
		<-added
		stopped := make(chan error, 1)
		go func() { stopped <- k.Shutdown(context.Background()) }()
		synctest.Wait()
		hold.Release()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if got, want := d.take(), []string{"connect", "disconnect"}; !slices.Equal(got, want) {
			t.Errorf("the hooks were %v, want %v", got, want)
		}
	})
}

func connectionHooks(d *diary) []actors.Option {
	return []actors.Option{
		actors.OnConnect(func(*counter, context.Context, *actors.Conn) error { d.note("connect"); return nil }),
		actors.OnDisconnect(func(*counter, context.Context, *actors.Conn) error { d.note("disconnect"); return nil }),
	}
}

func TestEveryShutdownWaitsForTheSleepHooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		k := newKit(t, nil, actors.OnSleep(func(*counter, context.Context) error { <-release; return nil }))
		k.mustAdd("a", 1)
		stopped := make(chan error, 3)
		for range cap(stopped) {
			go func() { stopped <- k.Shutdown(context.Background()) }()
		}
		synctest.Wait()
		if len(stopped) > 0 {
			t.Error("a Shutdown did not wait")
		}
		close(release)
		for range cap(stopped) {
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestACallThatWaitsForASleepHookWakesTheActorAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		release := make(chan struct{})
		k := newKit(t, nil, append(d.options(), actors.SleepAfter(time.Second),
			actors.OnSleep(func(*counter, context.Context) error { d.note("sleep"); <-release; return nil }))...)
		k.mustAdd("a", 1)
		pass(3 * time.Second)
		added := make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "a", 1); added <- err }()
		synctest.Wait()
		close(release)
		if err := <-added; err != nil {
			t.Fatal(err)
		}
		if got, want := d.take(), []string{"create", "wake", "sleep", "wake"}; !slices.Equal(got, want) {
			t.Errorf("the hooks were %v, want %v", got, want)
		}
	})
}

// TestP41_TurnsThatOutliveShutdownRun has turns wait for one that is stuck when the
// host gives up waiting for the work that entered them.
func TestP41_TurnsThatOutliveShutdownRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil, actors.WaitUntilTimeout(time.Second))
		stuck := make(chan struct{})
		answers := make(chan error, 4)
		k.act = func(_ context.Context, a *talker) error {
			nothing := func(context.Context) error { return nil }
			turns := []func() error{
				func() error {
					return a.ReadTurn(context.Background(), func(context.Context) error { <-stuck; return nil })
				},
				func() error { return a.Turn(context.Background(), nothing) },
				func() error { return a.ReadTurn(context.Background(), nothing) },
				func() error { return a.ReadTurn(context.Background(), nothing) },
			}
			for n, turn := range turns {
				a.WaitUntil(func(context.Context) {
					pass(time.Duration(n) * time.Millisecond)
					answers <- turn()
				})
			}
			return nil
		}
		k.mustDo()
		pass(10 * time.Millisecond)
		go func() {
			pass(10 * time.Second)
			close(stuck)
		}()
		if err := k.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	})
}
