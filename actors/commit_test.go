// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"pgregory.net/rapid"
)

func TestP10_NothingLeavesBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	k := newKit(t, faulty)
	k.mustAdd("a", 1)
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)

	hold := faulty.HoldWaits()
	written, read := make(chan error, 1), make(chan int64, 1)
	go func() { _, err := k.add(t.Context(), "a", 1); written <- err }()
	await(t, "held commit", hold.Reached())
	go func() { n, _ := k.count(t.Context(), "a"); read <- n }()
	select {
	case <-written:
		t.Fatal("a reply left before its commit was durable")
	case n := <-read:
		t.Fatalf("a read of the undurable count %d left", n)
	case <-sub.frames:
		t.Fatal("an event left before its commit was durable")
	case <-time.After(50 * time.Millisecond): // long enough for a wrong answer; a right one needs Release
	}
	hold.Release()
	if err := await(t, "reply", written); err != nil {
		t.Fatal(err)
	}
	if n := await(t, "read", read); n != 2 {
		t.Errorf("the read is %d, want 2", n)
	}
	if n := await(t, "event", sub.frames).GetCountChanged().GetCount(); n != 2 {
		t.Errorf("the event is %d, want 2", n)
	}
}

func TestP12_AFailedCommitDiscardsEveryTurnThatSawIt(t *testing.T) {
	t.Parallel()
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	k := newKit(t, faulty)
	k.mustAdd("a", 1)
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)

	faulty.FailCommit(errors.New("a disk that fails"))
	_, err := k.add(t.Context(), "a", 10)
	wantFailure(t, err, failure{connect.CodeAborted, "turn_discarded", notExecuted})
	k.mustCount("a", 1)
	k.mustAdd("a", 2)
	if n := await(t, "event", sub.frames).GetCountChanged().GetCount(); n != 3 {
		t.Errorf("the first event seen is %d, want 3: a discarded turn's event left", n)
	}
}

// TestP33_AConflictEndsStreams holds that streams go on from their cursors once somebody
// else has written the actor, whose events they may lack.
func TestP33_AConflictEndsStreams(t *testing.T) {
	t.Parallel()
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	k := newKit(t, faulty)
	k.mustAdd("a", 1)
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)
	faulty.FailCommit(store.ErrConflict)
	_, err := k.add(t.Context(), "a", 10)
	wantFailure(t, err, failure{connect.CodeAborted, "turn_discarded", notExecuted})
	if closing := await(t, "closing frame", sub.closed); closing.GetReason() != troupev1.CloseReason_CLOSE_REASON_RESTARTED || closing.GetReconnectAfter() == nil {
		t.Errorf("the stream ends with %v", closing)
	}
}

// TestP12_AConflictBehindAFailureKeepsStreams has a commit that failed refuse the one
// behind it: nobody else has written the actor.
func TestP12_AConflictBehindAFailureKeepsStreams(t *testing.T) {
	t.Parallel()
	needsDepth(t, 2)
	synctest.Test(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		k := newKit(t, faulty)
		k.mustAdd("a", 1)
		sub := k.subscribe("a", nil)
		await(t, "opened frame", sub.opened)
		hold := faulty.HoldWaits()
		faulty.FailCommit(errors.New("a disk that fails"))
		answers := make(chan error, 2)
		for range 2 {
			go func() { _, err := k.add(t.Context(), "a", 10); answers <- err }()
			synctest.Wait()
		}
		hold.Release()
		for range 2 {
			wantFailure(t, <-answers, failure{connect.CodeAborted, "turn_discarded", notExecuted})
		}
		k.mustAdd("a", 2)
		if n := await(t, "event", sub.frames).GetCountChanged().GetCount(); n != 3 {
			t.Errorf("the first event seen is %d, want 3", n)
		}
	})
}

func TestP16_AnUnknownCommitSaysSo(t *testing.T) {
	t.Parallel()
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	k := newKit(t, faulty)
	k.mustAdd("a", 1)
	faulty.FailCommit(store.ErrUnknown)
	_, err := k.add(t.Context(), "a", 10)
	wantFailure(t, err, failure{connect.CodeUnavailable, "outcome_unknown", unknown})
	k.mustCount("a", 1)
}

func TestP12_TurnsAheadOfAFailedCommitAreDiscardedWithIt(t *testing.T) {
	t.Parallel()
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	k := newKit(t, faulty)
	k.mustAdd("a", 1)
	hold := faulty.HoldWaits()
	faulty.FailCommit(store.ErrConflict)
	var callers sync.WaitGroup
	var discarded, kept atomic.Int64
	first := make(chan error, 1)
	go func() { _, err := k.add(t.Context(), "a", 10); first <- err }()
	await(t, "held commit", hold.Reached())
	for range 20 { // these run on the state that the first one left
		callers.Go(func() {
			_, err := k.add(t.Context(), "a", 100)
			switch {
			case err == nil:
				kept.Add(1)
			case failureOf(t, err) == failure{connect.CodeAborted, "turn_discarded", notExecuted}:
				discarded.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	hold.Release()
	wantFailure(t, <-first, failure{connect.CodeAborted, "turn_discarded", notExecuted})
	callers.Wait()
	k.mustCount("a", 1+100*kept.Load())
	if discarded.Load()+kept.Load() != 20 {
		t.Errorf("%d discarded and %d kept of 20", discarded.Load(), kept.Load())
	}
}

// TestP9_AgainstAModel runs random turns, failures and restarts against a map.
func TestP9_AgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		inner := memory.New(memory.Options{})
		faulty := storetest.NewFaulty(inner)
		k := newKit(t, faulty)
		model := make(map[string]int64)
		keys := rapid.SampledFrom([]string{"", "a", "b", "org/c"})
		r.Repeat(map[string]func(*rapid.T){
			"add": func(r *rapid.T) {
				key, amount := keys.Draw(r, "key"), rapid.Int64Range(-5, 5).Draw(r, "amount")
				got, err := k.add(t.Context(), key, amount)
				if model[key] += amount; err != nil || got != model[key] {
					r.Fatalf("Increment says %d, %v; want %d", got, err, model[key])
				}
			},
			"fail": func(r *rapid.T) {
				if k.fail(t.Context(), keys.Draw(r, "key"), 7, rapid.Bool().Draw(r, "panic")) == nil {
					r.Fatal("Fail did not fail")
				}
			},
			"lose a commit": func(r *rapid.T) {
				key := keys.Draw(r, "key")
				k.mustAdd(key, 0) // it exists
				before := faulty.Commits()
				faulty.FailCommit(store.ErrConflict)
				if _, err := k.add(t.Context(), key, 9); err == nil {
					r.Fatalf("a call whose commit failed went well (%d commits)", faulty.Commits()-before)
				}
			},
			"destroy": func(r *rapid.T) {
				key := keys.Draw(r, "key")
				target := k.to(counterv1connect.CounterGetProcedure, key, nil).Target
				_, err := k.Destroy(t.Context(), target)
				if err != nil && failureOf(t, err).code != connect.CodeNotFound {
					r.Fatal(err)
				}
				delete(model, key)
			},
			"restart": func(*rapid.T) {
				k.stop()
				k = newKit(t, faulty)
			},
			"": func(r *rapid.T) {
				key := keys.Draw(r, "key")
				if got, err := k.count(t.Context(), key); err != nil || got != model[key] {
					r.Fatalf("the count of %q is %d, %v; want %d", key, got, err, model[key])
				}
			},
		})
	})
}

// A call that lent its goroutine must not wait for the disk on it.
func TestALentCallIsAnsweredWhileItsCommitHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		k := newKit(t, faulty)
		k.mustAdd("a", 1)
		hold := faulty.HoldWaits()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		call := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 1})
		call.Detach = func(err *connect.Error) { t.Errorf("a turn that has run was given up: %v", err) }
		answered := make(chan error, 1)
		go func() { _, err := k.Call(ctx, call); answered <- err }()
		pass(2 * time.Second)
		synctest.Wait()
		select {
		case err := <-answered:
			wantFailure(t, err, failure{connect.CodeDeadlineExceeded, "deadline_exceeded", unknown})
		default:
			t.Error("the caller waits for the disk past its deadline")
		}
		hold.Release()
		k.mustCount("a", 2)
	})
}

func TestP10_AReplyDoesNotWaitForTheActorsNextTurn(t *testing.T) {
	t.Parallel()
	needsDepth(t, 2)
	synctest.Test(t, func(t *testing.T) {
		gates := map[int64]chan struct{}{1: make(chan struct{}), 2: make(chan struct{})}
		k := newKit(t, nil)
		k.increment = func(_ context.Context, _ *counter, req *counterv1.IncrementRequest) error {
			<-gates[req.GetAmount()]
			return nil
		}
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "a", 1); first <- err }()
		synctest.Wait()
		go func() { _, err := k.add(t.Context(), "a", 2); second <- err }()
		synctest.Wait()
		close(gates[1]) // its turn ends at once, and the next one begins
		pass(time.Second)
		synctest.Wait()
		select {
		case err := <-first:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("the reply waits for the turn after it")
		}
		close(gates[2])
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
}
