// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
)

var (
	crashed     = failure{connect.CodeUnavailable, "actor_crashed", notExecuted}
	quarantined = failure{connect.CodeFailedPrecondition, "actor_quarantined", notExecuted}
	internal    = failure{connect.CodeInternal, "internal", notExecuted}
)

// retryDelay is when an error says to try again; negative if it does not.
func retryDelay(tb testing.TB, err error) time.Duration {
	tb.Helper()
	wire, _ := errors.AsType[*connect.Error](err)
	for _, detail := range wire.Details() {
		message, err := connectproto.UnmarshalErrorDetail(detail)
		if err != nil {
			tb.Fatal(err)
		}
		if retry, ok := message.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration()
		}
	}
	return -1
}

func (k *kit) describe(key string) actors.Description {
	k.tb.Helper()
	target := k.to(counterv1connect.CounterGetProcedure, key, nil).Target
	target.Resolve = actors.Get
	d, _, err := k.Ensure(k.tb.Context(), target, nil)
	if err != nil {
		k.tb.Fatal(err)
	}
	return d
}

// TestP44_AnActorThatFailsToWakeIsLeftAlone calls an actor each 50 ms for two
// minutes whose wake hook panics.
func TestP44_AnActorThatFailsToWakeIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var wakes []time.Time
		broken := false
		k := newKit(t, nil, actors.SleepAfter(time.Second), actors.OnWake(func(*counter, context.Context) error {
			if wakes = append(wakes, time.Now()); broken {
				panic("a wake that panics")
			}
			return nil
		}))
		k.mustAdd("a", 1)
		k.mustAdd("b", 1)
		pass(3 * time.Second)
		broken, wakes = true, nil
		for range 2400 {
			switch _, err := k.add(t.Context(), "a", 1); failureOf(t, err) {
			case internal:
			case crashed:
				if d := retryDelay(t, err); d <= 0 || d > 30*time.Second {
					t.Fatalf("a call is to be tried again after %v", d)
				}
			default:
				t.Fatal(err)
			}
			pass(50 * time.Millisecond)
		}
		if len(wakes) < 8 || len(wakes) > 13 {
			t.Fatalf("the actor was woken %d times", len(wakes))
		}
		for n := 2; n < len(wakes); n++ {
			gap := wakes[n].Sub(wakes[n-1])
			if least := min(100*time.Millisecond<<(n-1), 30*time.Second); gap < least || gap > least*5/4+60*time.Millisecond {
				t.Errorf("wake %d came %v after the one before", n, gap)
			}
		}
		if d := k.describe("a"); d.Status != actors.StatusCrashed || d.RetryAt.IsZero() || !strings.Contains(d.LastError, "a wake that panics") {
			t.Errorf("the actor is described as %+v", d)
		}
		broken = false
		pass(30 * time.Second)
		k.mustCount("a", 1)
		k.mustCount("b", 1)
		if d := k.describe("a"); d.Status != actors.StatusAwake || d.LastError == "" || !d.RetryAt.IsZero() {
			t.Errorf("the actor is described as %+v", d)
		}
		pass(3 * time.Second)
		broken = true // from the beginning
		_, err := k.count(t.Context(), "a")
		wantFailure(t, err, internal)
		_, err = k.count(t.Context(), "a")
		wantFailure(t, err, crashed)
		if d := retryDelay(t, err); d > 125*time.Millisecond {
			t.Errorf("the first back-off after a success is %v", d)
		}
	})
}

func TestACallersDeadlineIsNoCrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil, actors.SleepAfter(time.Second), actors.OnWake(func(_ *counter, ctx context.Context) error {
			pass(300 * time.Millisecond)
			return ctx.Err()
		}))
		k.mustAdd("a", 1)
		pass(3 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := k.add(ctx, "a", 1)
		wantFailure(t, err, failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted})
		k.mustCount("a", 1)
	})
}

// TestP43_UndecodableStateIsQuarantined goes the whole way: refused, exported,
// repaired.
func TestP43_UndecodableStateIsQuarantined(t *testing.T) {
	t.Parallel()
	garbage := []byte{0xff, 0xff, 0xff}
	for name, cure := range map[string]func(*kit, actors.Target) error{
		"repair": func(k *kit, target actors.Target) error {
			_, err := k.Repair(k.tb.Context(), target, 1, func(state proto.Message) error {
				proto.Merge(state, &counterv1.CounterState{Count: 41})
				return nil
			})
			return err
		},
		"reset": func(k *kit, target actors.Target) error {
			_, err := k.Repair(k.tb.Context(), target, 1, func(proto.Message) error { return nil })
			return err
		},
		"destroy": func(k *kit, target actors.Target) error { _, err := k.Destroy(k.tb.Context(), target); return err },
		"lift": func(k *kit, target actors.Target) error {
			r := k.stored("a")
			r.State = nil
			k.put(r)
			_, err := k.Lift(k.tb.Context(), target)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memory.New(memory.Options{})
			seed(t, s, "a", 0, garbage)
			k := newKit(t, s)
			target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
			for range 3 {
				_, err := k.add(t.Context(), "a", 1)
				wantFailure(t, err, quarantined)
				_, err = k.count(t.Context(), "a")
				wantFailure(t, err, quarantined)
				k.mustAdd("b", 1)
			}
			if d := k.describe("a"); d.Status != actors.StatusQuarantined || d.LastError == "" || d.LastErrorAt.IsZero() {
				t.Errorf("the actor is described as %+v", d)
			}
			d, rows, next, err := k.Export(t.Context(), target, nil, 100, 1<<20)
			if err != nil || !bytes.Equal(d.State, garbage) || d.Revision != 1 || len(rows) != 0 || next != nil {
				t.Fatalf("Export: %+v, %d rows, %v, %v", d, len(rows), next, err)
			}
			_, err = k.Repair(t.Context(), target, 7, func(proto.Message) error { return nil })
			wantFailure(t, err, failure{connect.CodeAborted, "revision_mismatch", notExecuted})
			_, err = k.Repair(t.Context(), target, 1, func(proto.Message) error { return errors.New("no state at all") })
			wantFailure(t, err, failure{connect.CodeInvalidArgument, "bad_actor_state", notExecuted})
			if r := k.stored("a"); !bytes.Equal(r.State, garbage) || r.Revision != 1 {
				t.Fatalf("stored: %+v", r)
			}
			if err := cure(k, target); err != nil {
				t.Fatal(err)
			}
			want := int64(1)
			if name == "repair" {
				want = 42
			}
			if got := k.mustAdd("a", 1); got != want {
				t.Errorf("the count is %d, want %d", got, want)
			}
			if d := k.describe("a"); d.Status != actors.StatusAwake {
				t.Errorf("the actor is described as %+v", d)
			}
		})
	}
}

func TestP43_CorruptBytesAreDataLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		seed(t, faulty, "a", 0, nil)
		k := newKit(t, faulty)
		synctest.Wait() // the host has looked for what is due
		faulty.FailRead(fmt.Errorf("block 7: %w", store.ErrCorrupt))
		for range 3 { // the store is asked once
			_, err := k.count(t.Context(), "a")
			wantFailure(t, err, failure{connect.CodeDataLoss, "data_loss", notExecuted})
		}
		k.mustAdd("b", 1)
		if _, err := k.Lift(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Target); err != nil {
			t.Fatal(err)
		}
		k.mustCount("a", 0)
	})
}

// TestRepairOfAnActorInMemory has it read the new state again.
func TestRepairOfAnActorInMemory(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.mustAdd("a", 1)
	target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
	d, err := k.Repair(t.Context(), target, k.describe("a").Revision, func(state proto.Message) error {
		proto.Merge(state, &counterv1.CounterState{Count: 41})
		return nil
	})
	if err != nil || d.Status != actors.StatusSleeping {
		t.Fatalf("Repair: %+v, %v", d, err)
	}
	if got := k.mustAdd("a", 1); got != 42 {
		t.Errorf("the count is %d, want 42", got)
	}
}

// TestP43_ManyBrokenActorsTakeBoundedMemory has more of them than are remembered.
func TestP43_ManyBrokenActorsTakeBoundedMemory(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	k := newKit(t, s)
	const actorsNumber = 5000
	for n := range actorsNumber {
		seed(t, s, fmt.Sprint(n), 0, []byte{0xff})
		_, err := k.count(t.Context(), fmt.Sprint(n))
		wantFailure(t, err, quarantined)
	}
	if d := k.describe("0"); d.Status != actors.StatusSleeping { // forgotten
		t.Errorf("the oldest is %v", d.Status)
	}
	if d := k.describe(fmt.Sprint(actorsNumber - 1)); d.Status != actors.StatusQuarantined {
		t.Errorf("the newest is %v", d.Status)
	}
	_, err := k.count(t.Context(), "0") // and found broken again
	wantFailure(t, err, quarantined)
}

func TestStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		waking := make(chan struct{})
		k := newKit(t, faulty, actors.SleepAfter(time.Second), actors.OnWake(func(*counter, context.Context) error { <-waking; return nil }))
		go func() { _, _ = k.add(t.Context(), "a", 1) }()
		synctest.Wait()
		seed(t, faulty, "other", 0, nil)
		want := func(status actors.Status) {
			t.Helper()
			if got := k.describe("a"); got.Status != status {
				t.Errorf("the actor is %v, want %v", got.Status, status)
			}
		}
		close(waking)
		pass(100 * time.Millisecond)
		want(actors.StatusAwake)
		pass(3 * time.Second)
		want(actors.StatusSleeping)
		waking = make(chan struct{})
		go func() { _, _ = k.add(t.Context(), "a", 1) }()
		synctest.Wait()
		want(actors.StatusStarting)
		close(waking)
		synctest.Wait()
		wantFailure(t, k.fail(t.Context(), "a", 1, true), internal)
		if d := k.describe("a"); d.Status != actors.StatusSleeping || !strings.Contains(d.LastError, "asked for") {
			t.Errorf("after a panic the actor is described as %+v", d)
		}
	})
}

// TestRepairBesideCallsThatAreRefused repairs an actor that every call forgets again.
func TestRepairBesideCallsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	k := newKit(t, s)
	k.mustAdd("a", 1)
	k.stop()
	k = newKit(t, s.Reopen(), actors.Migrate(func(context.Context, *counterv1.CounterState) (*counterv1.CounterState, error) {
		return nil, errors.New("it does not")
	}))
	target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = k.count(context.Background(), "a")
				}
			}
		})
	}
	for range 2000 {
		_, err := k.Repair(t.Context(), target, 99, func(proto.Message) error { return nil })
		if got := failureOf(t, err); got.reason != "revision_mismatch" {
			t.Errorf("Repair: %v", err)
			break
		}
	}
	close(stop)
	callers.Wait()
}

// TestP14_AMalformedRowIsDataLoss is about rows that pass their checksums and yet
// are none that the runtime writes.
func TestP14_AMalformedRowIsDataLoss(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]store.Kind{"event": store.KindEvent, "idempotency record": store.KindIdempotency} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memory.New(memory.Options{})
			w := &store.Write{Op: store.OpCreate, Record: store.Record{
				Address: store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: "a"}, ID: store.NewID(3), Revision: 1, EventHead: 5,
			}, Rows: []store.RowWrite{{Kind: kind, Row: store.Row{Key: []byte("5"), Value: []byte("?")}}}}
			s.Commit(t.Context(), []*store.Write{w}).Wait()
			if w.Err != nil {
				t.Fatal(w.Err)
			}
			k := newKit(t, s)
			call := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 1})
			call.IdempotencyKey = "key"
			_, err := k.Call(t.Context(), call)
			wantFailure(t, err, failure{connect.CodeDataLoss, "data_loss", notExecuted})
			k.mustCount("a", 0)
		})
	}
}

// TestP43_AQuarantineByHandOutlivesTheProcess keeps a sound actor from running, and
// lets it go on as if nothing had been.
func TestP43_AQuarantineByHandOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	k := newKit(t, s)
	k.mustAdd("a", 5)
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)
	target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
	for range 2 { // twice is no error
		if d, err := k.Quarantine(t.Context(), target); err != nil || d.Status != actors.StatusQuarantined {
			t.Fatalf("Quarantine: %+v, %v", d, err)
		}
	}
	if why := await(t, "closing frame", sub.closed).GetReason(); why != troupev1.CloseReason_CLOSE_REASON_RESTARTED {
		t.Errorf("the stream closed with %v", why)
	}
	refused := func() {
		t.Helper()
		_, err := k.add(t.Context(), "a", 1)
		wantFailure(t, err, failure{connect.CodeFailedPrecondition, "actor_quarantined", notExecuted})
		_, err = k.count(t.Context(), "a")
		wantFailure(t, err, failure{connect.CodeFailedPrecondition, "actor_quarantined", notExecuted})
		if d := k.describe("a"); d.Status != actors.StatusQuarantined {
			t.Errorf("the actor is described as %+v", d)
		}
		k.mustAdd("b", 1)
	}
	refused()
	k.stop()
	k = newKit(t, s.Reopen())
	refused()
	if d, err := k.Lift(t.Context(), target); err != nil || d.Status != actors.StatusSleeping {
		t.Fatalf("Lift: %+v, %v", d, err)
	}
	k.mustCount("a", 5)
	if got := k.mustAdd("a", 1); got != 6 {
		t.Errorf("the count is %d, want 6", got)
	}
}
