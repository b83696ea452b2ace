// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
	"github.com/troupe-dev/troupe/gen/go/agent/v1/agentv1connect"
)

// beside runs do in a streaming action and returns what it returned.
func (k *talkers) beside(do func(ctx context.Context, a *talker) error) error {
	k.tb.Helper()
	result := make(chan error, 1)
	k.ask = func(ctx context.Context, a *talker, _ func(string) error) error {
		result <- do(ctx, a)
		return nil
	}
	if err := await(k.tb, "end", k.asks("").ended); err != nil {
		k.tb.Fatalf("Ask: %v", err)
	}
	return <-result
}

func TestATurnFromBesideCommitsOrRollsBack(t *testing.T) {
	t.Parallel()
	k := newTalkers(t, nil)
	own := errors.New("an error of the function's own")
	err := k.beside(func(ctx context.Context, a *talker) error {
		if err := a.Turn(ctx, a.count); err != nil {
			return err
		}
		return a.Turn(ctx, func(context.Context) error { a.State().Count += 100; return own })
	})
	if err != own { //nolint:errorlint // as it is
		t.Errorf("Turn returned %v", err)
	}
	k.mustCount(1)
}

func TestP10_ATurnFromBesideReturnsWhenItIsDurable(t *testing.T) {
	t.Parallel()
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	k := newTalkers(t, faulty)
	k.mustDo()
	for name, turn := range map[string]func(ctx context.Context, a *talker) error{
		"write": func(ctx context.Context, a *talker) error { return a.Turn(ctx, a.count) },
		"read": func(ctx context.Context, a *talker) error {
			return a.ReadTurn(ctx, func(context.Context) error { _ = a.State().GetCount(); return nil })
		},
	} {
		hold := faulty.HoldWaits()
		steps := make(chan struct{})
		k.ask = func(ctx context.Context, a *talker, send func(string) error) error {
			if name == "read" { // somebody else's change
				steps <- struct{}{}
				<-steps
			}
			if err := turn(ctx, a); err != nil {
				return err
			}
			return send("durable")
		}
		l := k.asks("")
		if name == "read" {
			<-steps
			go func() { _ = k.do(t.Context()) }()
			await(t, "held commit", hold.Reached())
			steps <- struct{}{}
		}
		await(t, "held commit", hold.Reached())
		select {
		case <-l.tokens:
			t.Errorf("%s: a message left before its turn was durable", name)
		case <-time.After(50 * time.Millisecond): // long enough for a wrong answer; a right one needs Release
		}
		hold.Release()
		await(t, "message", l.tokens)
		if err := await(t, "end", l.ended); err != nil {
			t.Fatal(err)
		}
	}
}

// TestP20_TurnsFromBesideWaitInOrder queues calls and turns from beside in turn,
// behind one that runs.
func TestP20_TurnsFromBesideWaitInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil)
		var order []int
		release := make(chan struct{})
		k.act = func(ctx context.Context, _ *talker) error {
			order = append(order, ctx.Value(place{}).(int))
			if len(order) == 1 {
				<-release
			}
			return nil
		}
		k.ask = func(ctx context.Context, a *talker, _ func(string) error) error {
			var all sync.WaitGroup
			for n := range 10 {
				ctx := context.WithValue(ctx, place{}, n)
				all.Go(func() {
					var err error
					if n%2 == 0 {
						err = k.do(ctx)
					} else {
						err = a.Turn(ctx, func(ctx context.Context) error { return k.act(ctx, a) })
					}
					if err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
			}
			close(release)
			all.Wait()
			return nil
		}
		if err := <-k.asks("").ended; err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(order) || len(order) != 10 {
			t.Errorf("the turns ran in the order %v", order)
		}
	})
}

type place struct{}

func TestP19_ATurnFromBesideThatLeavesTheQueueNeverRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil)
		release := make(chan struct{})
		k.act = func(ctx context.Context, a *talker) error { <-release; return a.count(ctx) }
		done := make(chan error, 1)
		err := k.beside(func(ctx context.Context, a *talker) error {
			go func() { done <- k.do(t.Context()) }()
			synctest.Wait()
			ctx, cancel := context.WithCancel(ctx)
			left := make(chan error, 1)
			go func() { left <- a.Turn(ctx, a.count) }()
			synctest.Wait()
			cancel()
			err := <-left
			close(release)
			return err
		})
		if connect.CodeOf(err) != connect.CodeCanceled {
			t.Errorf("Turn returned %v", err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		k.mustCount(1)
	})
}

// TestP24_ATurnFromBesideGoesOnWithoutItsCaller cancels the context of a turn that
// runs: Turn returns with the function, not before.
func TestP24_ATurnFromBesideGoesOnWithoutItsCaller(t *testing.T) {
	t.Parallel()
	k := newTalkers(t, nil)
	err := k.beside(func(ctx context.Context, a *talker) error {
		ctx, cancel := context.WithCancel(ctx)
		return a.Turn(ctx, func(ctx context.Context) error {
			cancel()
			if err := ctx.Err(); err != nil {
				return err
			}
			return a.count(ctx)
		})
	})
	if err != nil {
		t.Errorf("Turn returned %v", err)
	}
	k.mustCount(1)
}

// TestP23_ATurnFromBesidePastItsLimitIsSealed holds although Turn returns only when
// the function does.
func TestP23_ATurnFromBesidePastItsLimitIsSealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil, actors.ActionTimeout(time.Second))
		err := k.beside(func(ctx context.Context, a *talker) error {
			var inside bool
			err := a.Turn(ctx, func(ctx context.Context) error {
				inside = true // what the caller has is the function's until Turn returns
				<-ctx.Done()
				pass(5 * time.Second)
				inside = false
				return a.count(ctx)
			})
			if inside {
				t.Error("Turn returned before its function")
			}
			return err
		})
		if connect.CodeOf(err) != connect.CodeDeadlineExceeded {
			t.Errorf("Turn returned %v", err)
		}
		k.mustCount(0)
	})
}

func TestP22_ReadTurnsRunTogetherAndChangeNothing(t *testing.T) {
	t.Parallel()
	k := newTalkers(t, nil)
	err := k.beside(func(ctx context.Context, a *talker) error {
		together := make(chan struct{})
		var readers sync.WaitGroup
		for n := range 2 {
			readers.Go(func() {
				err := a.ReadTurn(ctx, func(context.Context) error {
					_ = a.State().GetCount()
					if n == 0 {
						together <- struct{}{}
					} else {
						<-together
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		readers.Wait()
		return a.ReadTurn(ctx, func(context.Context) error { a.Destroy(); return nil })
	})
	if err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a write in a ReadTurn: %v", err)
	}
	k.join = func(ctx context.Context, a *talker) error { return a.Turn(ctx, a.count) }
	l := k.stream(agentv1connect.AssistantJoinProcedure, new(agentv1.JoinRequest), nil)
	wantFailure(t, await(t, "end", l.ended), failure{connect.CodeInternal, "internal", notExecuted})
	if !strings.Contains(k.logs.String(), "use ReadTurn") {
		t.Errorf("the log does not say what to change: %s", k.logs.String())
	}
	k.mustCount(0)
}

func TestATurnInsideATurnFailsAtOnce(t *testing.T) {
	t.Parallel()
	k := newTalkers(t, nil)
	ways := map[string]func(ctx context.Context, a *talker) error{
		"its own context": func(ctx context.Context, a *talker) error { return a.Turn(ctx, a.count) },
		"no context":      func(_ context.Context, a *talker) error { return a.Turn(context.Background(), a.count) },
		"to read": func(_ context.Context, a *talker) error {
			return a.ReadTurn(context.Background(), func(context.Context) error { return nil })
		},
		"deep down": func(_ context.Context, a *talker) error {
			var dive func(n int) error
			dive = func(n int) error {
				if n == 0 {
					return a.Turn(context.Background(), a.count)
				}
				return dive(n - 1)
			}
			return dive(500)
		},
	}
	for name, way := range ways {
		var err error
		k.act = func(ctx context.Context, a *talker) error { err = way(ctx, a); return a.count(ctx) }
		k.mustDo()
		if err == nil || !strings.Contains(err.Error(), "inside a turn") {
			t.Errorf("%s, in an action: %v", name, err)
		}
		err = k.beside(func(ctx context.Context, a *talker) error {
			return a.Turn(ctx, func(ctx context.Context) error { return way(ctx, a) })
		})
		if err == nil || !strings.Contains(err.Error(), "inside a turn") {
			t.Errorf("%s, in a Turn: %v", name, err)
		}
	}
	k.mustCount(int64(len(ways)))
}

func TestTheMailboxBoundsTurnsFromBeside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil, actors.MailboxSize(1))
		release := make(chan struct{})
		k.act = func(context.Context, *talker) error { <-release; return nil }
		err := k.beside(func(ctx context.Context, a *talker) error {
			var all sync.WaitGroup
			for range 2 {
				all.Go(func() { _ = k.do(t.Context()) })
				synctest.Wait()
			}
			err := a.Turn(ctx, a.count)
			close(release)
			all.Wait()
			return err
		})
		wantReason(t, err, connect.CodeResourceExhausted, "mailbox_full")
	})
}

// TestATurnAfterTheActorWasLoadedAgain has the old struct of an actor fail, and its
// streaming action end.
func TestATurnAfterTheActorWasLoadedAgain(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(k *talkers, faulty *storetest.Faulty){
		"panic": func(k *talkers, _ *storetest.Faulty) {
			k.act = func(context.Context, *talker) error { panic("as the test wants it") }
			wantReason(t, k.do(t.Context()), connect.CodeInternal, "internal")
			k.act = func(ctx context.Context, a *talker) error { return a.count(ctx) }
		},
		"failed commit": func(k *talkers, faulty *storetest.Faulty) {
			faulty.FailCommit(errors.New("disk full"))
			wantReason(t, k.do(t.Context()), connect.CodeAborted, "turn_discarded")
		},
		"destroy": func(k *talkers, _ *storetest.Faulty) { k.destroy() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faulty := storetest.NewFaulty(memory.New(memory.Options{}))
			k := newTalkers(t, faulty)
			k.mustDo()
			var late error
			k.ask = func(ctx context.Context, a *talker, _ func(string) error) error {
				end(k, faulty)
				<-ctx.Done()
				late = a.Turn(context.Background(), a.count)
				return ctx.Err()
			}
			err := await(t, "end", k.asks("").ended)
			wantFailure(t, err, failure{connect.CodeAborted, "actor_restarted", notExecuted})
			wantReason(t, late, connect.CodeAborted, "actor_restarted")
			k.mustDo()
			k.destroy()
		})
	}
}

func TestUsingTheActorOutsideATurnPanics(t *testing.T) {
	t.Parallel()
	k := newTalkers(t, nil)
	for name, misuse := range map[string]func(a *talker){
		"State":     func(a *talker) { a.State() },
		"Broadcast": func(a *talker) { a.Broadcast(nil) },
		"Destroy":   func(a *talker) { a.Destroy() },
	} {
		k.ask = func(_ context.Context, a *talker, _ func(string) error) error { misuse(a); return nil }
		wantFailure(t, await(t, "end", k.asks("").ended), failure{connect.CodeInternal, "internal", notExecuted})
		if logs := k.logs.String(); !strings.Contains(logs, name) || !strings.Contains(logs, "outside a turn") || !strings.Contains(logs, "talker).Ask") {
			t.Errorf("%s: the log does not say where: %s", name, logs)
		}
	}
	k.mustDo() // nothing was reloaded or kept
	k.mustCount(1)
}

// TestP23_TheLogSaysWhereAStuckTurnIs has a turn ignore its context.
func TestP23_TheLogSaysWhereAStuckTurnIs(t *testing.T) {
	t.Parallel()
	k := newTalkers(t, nil, actors.ActionTimeout(100*time.Millisecond))
	release := make(chan struct{})
	k.act = func(context.Context, *talker) error { <-release; return nil }
	wantFailure(t, k.do(t.Context()), failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted})
	close(release)
	k.mustCount(0)
	logs := k.logs.String()
	for _, want := range []string{"did not end in time", "agent.v1.Assistant/Cancel", "(*talker).Cancel", "enter_test.go"} {
		if !strings.Contains(logs, want) {
			t.Errorf("the log does not name %q: %s", want, logs)
		}
	}
}
