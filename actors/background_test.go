// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

func TestGoKeepsTheActorAwakeWhileItRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil, actors.SleepAfter(time.Second))
		release := make(chan struct{})
		k.act = func(_ context.Context, a *talker) error {
			a.Go(func(ctx context.Context) {
				<-release
				if err := a.Turn(ctx, a.count); err != nil {
					t.Error(err)
				}
			})
			return nil
		}
		k.mustDo()
		pass(time.Hour)
		if !k.awake() {
			t.Error("the actor sleeps while its work runs")
		}
		close(release)
		synctest.Wait()
		if !k.awake() {
			t.Error("the actor slept as soon as its work had ended")
		}
		pass(3 * time.Second)
		if k.awake() {
			t.Error("the actor stays awake after its work")
		}
		k.mustCount(1)
	})
}

func TestAStreamingActionKeepsTheActorAwake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil, actors.SleepAfter(time.Second))
		k.ask = func(ctx context.Context, a *talker, _ func(string) error) error {
			pass(30 * time.Minute)
			return a.Turn(ctx, a.count)
		}
		l := k.asks("")
		pass(29 * time.Minute)
		if !k.awake() {
			t.Error("the actor sleeps while a streaming action runs")
		}
		if err := <-l.ended; err != nil {
			t.Fatal(err)
		}
		pass(3 * time.Second)
		if k.awake() {
			t.Error("the actor stays awake after its streaming action")
		}
		k.mustCount(1)
	})
}

// TestP10_WorkStartsOnceItsTurnIsDurable holds the commit of a turn that starts
// work.
func TestP10_WorkStartsOnceItsTurnIsDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		k := newTalkers(t, faulty)
		k.mustDo()
		started := make(chan struct{}, 1)
		k.act = func(ctx context.Context, a *talker) error {
			a.Go(func(context.Context) { started <- struct{}{} })
			return a.count(ctx)
		}
		hold := faulty.HoldWaits()
		done := make(chan error, 1)
		go func() { done <- k.do(t.Context()) }()
		synctest.Wait()
		if len(started) > 0 {
			t.Error("the work started before its turn was durable")
		}
		hold.Release()
		<-started
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestWorkOfATurnThatFailsNeverStarts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		then func(ctx context.Context, a *talker) error
		want failure
	}{
		"error": {func(context.Context, *talker) error { return errors.New("no") }, failure{connect.CodeInternal, "internal", notExecuted}},
		"panic": {func(context.Context, *talker) error { panic("no") }, failure{connect.CodeInternal, "internal", notExecuted}},
		"time": {
			func(ctx context.Context, _ *talker) error { <-ctx.Done(); return nil },
			failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted},
		},
		"failed commit": {
			func(ctx context.Context, a *talker) error { return a.count(ctx) },
			failure{connect.CodeAborted, "turn_discarded", notExecuted},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(name)
			faulty := storetest.NewFaulty(memory.New(memory.Options{}))
			k := newTalkers(t, faulty, actors.SleepAfter(time.Second), actors.ActionTimeout(2*time.Second))
			k.mustDo()
			k.act = func(ctx context.Context, a *talker) error {
				a.Go(func(context.Context) { t.Error("the work of a turn that failed began") })
				a.WaitUntil(func(context.Context) { t.Error("the work of a turn that failed began") })
				a.KeepAwake()
				return test.then(ctx, a)
			}
			if name == "failed commit" {
				faulty.FailCommit(errors.New("disk full"))
			}
			wantFailure(t, k.do(t.Context()), test.want)
			pass(10 * time.Second)
			if k.awake() {
				t.Error("a turn that failed keeps the actor awake")
			}
		})
	}
}

// TestWorkThatAWakeHookStarts runs whatever becomes of the call that woke the actor.
func TestWorkThatAWakeHookStarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil, actors.OnWake(func(a *talker, _ context.Context) error {
			a.Go(func(ctx context.Context) {
				if err := a.Turn(ctx, a.count); err != nil {
					t.Error(err)
				}
			})
			return nil
		}))
		k.act = func(context.Context, *talker) error { return errors.New("no") }
		wantReason(t, k.do(t.Context()), connect.CodeInternal, "internal")
		synctest.Wait()
		k.mustCount(1)
	})
}

func TestAPanicOfWorkEndsThatWorkOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil, actors.SleepAfter(time.Second))
		var went bool
		k.act = func(ctx context.Context, a *talker) error {
			a.Go(func(context.Context) { panic("the work panics") })
			a.Go(func(context.Context) { runtime.Goexit() })
			a.Go(func(ctx context.Context) { pass(time.Second); went = ctx.Err() == nil })
			return a.count(ctx)
		}
		k.mustDo()
		pass(2 * time.Second)
		synctest.Wait()
		if !went {
			t.Error("other work was harmed")
		}
		if logs := k.logs.String(); !strings.Contains(logs, "the work panics") || !strings.Contains(logs, "background_test.go") {
			t.Errorf("the log has no stack: %s", logs)
		}
		k.mustCount(1)
		pass(3 * time.Second)
		if k.awake() {
			t.Error("work that is over keeps the actor awake")
		}
	})
}

func TestTheActorsContextEndsWithTheActor(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(k *talkers){
		"sleep":   func(*talkers) { pass(3 * time.Second) },
		"destroy": (*talkers).destroy,
		"panic": func(k *talkers) {
			k.act = func(context.Context, *talker) error { panic("as the test wants it") }
			_ = k.do(k.tb.Context())
		},
		"shutdown": func(k *talkers) {
			if err := k.Shutdown(context.Background()); err != nil {
				k.tb.Error(err)
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(name)
			k := newTalkers(t, nil, actors.SleepAfter(time.Second))
			contexts := make(chan context.Context, 1)
			k.act = func(_ context.Context, a *talker) error { contexts <- a.Context(); return nil }
			k.mustDo()
			own := <-contexts
			if own.Err() != nil {
				t.Fatal("the context of an actor in memory has ended")
			}
			end(k)
			synctest.Wait()
			if own.Err() == nil {
				t.Error("the context goes on without its actor")
			}
		})
	}
}

func TestKeepAwake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil, actors.SleepAfter(time.Second))
		var releases []func()
		k.act = func(_ context.Context, a *talker) error {
			releases = append(releases, a.KeepAwake())
			return nil
		}
		k.mustDo()
		k.mustDo()
		releases[0]()
		releases[0]()
		pass(time.Hour)
		if !k.awake() {
			t.Error("the actor sleeps though it is kept awake")
		}
		releases[1]()
		pass(3 * time.Second)
		if k.awake() {
			t.Error("the actor stays awake")
		}
		k.mustDo()
		releases[1]() // of an earlier life
		pass(time.Hour)
		if !k.awake() {
			t.Error("a release of an earlier life let the actor sleep")
		}
	})
}

func TestWaitUntilDelaysSleepForATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil, actors.SleepAfter(time.Second), actors.WaitUntilTimeout(time.Minute))
		took := 30 * time.Second
		ended := make(chan error, 1)
		k.act = func(_ context.Context, a *talker) error {
			a.WaitUntil(func(ctx context.Context) {
				select {
				case <-time.After(took):
					ended <- a.Turn(ctx, a.count)
				case <-ctx.Done():
					ended <- ctx.Err()
				}
			})
			return nil
		}
		k.mustDo()
		pass(29 * time.Second)
		if !k.awake() {
			t.Error("the actor did not wait for the work")
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		pass(3 * time.Second)
		if k.awake() {
			t.Error("the actor stays awake after the work")
		}
		took = time.Hour
		k.mustDo()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("work past its time ended with %v", err)
		}
		if k.awake() {
			t.Error("the work kept the actor awake past its time")
		}
		k.mustCount(1)
	})
}

// TestShutdownWaitsForWorkInBounds has work that ends with its context, work that
// may go on for a while, and work that is stuck.
func TestShutdownWaitsForWorkInBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil, actors.WaitUntilTimeout(10*time.Second))
		stuck := make(chan struct{})
		late := make(chan error, 3)
		k.act = func(ctx context.Context, a *talker) error {
			a.Go(func(ctx context.Context) {
				<-ctx.Done()
				late <- a.Turn(context.WithoutCancel(ctx), a.count) // the last words
			})
			a.WaitUntil(func(ctx context.Context) {
				pass(5 * time.Second)
				late <- a.Turn(ctx, a.count)
			})
			a.Go(func(ctx context.Context) {
				<-stuck
				late <- a.Turn(context.WithoutCancel(ctx), a.count)
			})
			return a.count(ctx)
		}
		k.mustDo()
		synctest.Wait()
		began := time.Now()
		if err := k.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("Shutdown took %s, want what stuck work may have", took)
		}
		for range 2 {
			if err := <-late; err != nil {
				t.Error(err)
			}
		}
		close(stuck)
		wantReason(t, <-late, connect.CodeUnavailable, "shutting_down")
		if !strings.Contains(k.logs.String(), "did not end in time") {
			t.Errorf("the log says nothing of the stuck work: %s", k.logs.String())
		}
	})
}

func TestShutdownEndsStreamingActions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil)
		k.ask = func(ctx context.Context, a *talker, _ func(string) error) error {
			if err := a.Turn(ctx, a.count); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}
		l := k.asks("")
		synctest.Wait()
		if err := k.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		wantFailure(t, <-l.ended, failure{connect.CodeUnavailable, "shutting_down", committed})
	})
}

// TestGoBesideTheActor starts work from work, and from a streaming action.
func TestGoBesideTheActor(t *testing.T) {
	t.Parallel()
	k := newTalkers(t, nil)
	err := k.beside(func(_ context.Context, a *talker) error {
		done := make(chan error)
		a.Go(func(context.Context) {
			a.Go(func(ctx context.Context) { done <- a.Turn(ctx, a.count) })
		})
		return await(t, "work", done)
	})
	if err != nil {
		t.Error(err)
	}
	k.mustCount(1)
}

// TestTurnsOfWorkDoNotKeepTheActorAwake has work of WaitUntil enter one turn after
// the other.
func TestTurnsOfWorkDoNotKeepTheActorAwake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil, actors.SleepAfter(2*time.Second), actors.WaitUntilTimeout(time.Minute))
		ended := make(chan error, 1)
		k.act = func(_ context.Context, a *talker) error {
			a.WaitUntil(func(context.Context) {
				for {
					if err := a.Turn(context.Background(), a.count); err != nil {
						ended <- err
						return
					}
					pass(time.Second)
				}
			})
			return nil
		}
		k.mustDo()
		pass(time.Minute)
		if !k.awake() {
			t.Error("the actor did not wait for the work")
		}
		pass(6 * time.Second)
		wantReason(t, <-ended, connect.CodeAborted, "actor_restarted")
	})
}
