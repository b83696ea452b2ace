// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// everyKind are the kinds of rows.
var everyKind = []store.Kind{store.KindKV, store.KindSchedule, store.KindEvent, store.KindOutbox, store.KindIdempotency}

// furnish gives a sleeping counter some rows of every kind, far in the future.
func (k *kit) furnish(key string) store.Record {
	k.tb.Helper()
	r := k.stored(key)
	w := &store.Write{Op: store.OpUpdate, Expect: r.Revision, Record: r}
	w.Record.Revision++
	for _, kind := range everyKind {
		for n := range 3 {
			w.Rows = append(w.Rows, store.RowWrite{Kind: kind, Op: store.RowPut, Row: store.Row{
				Key: fmt.Appendf(nil, "row %d", n), Value: []byte("value"), Due: time.Now().Add(1000 * time.Hour),
			}})
		}
	}
	k.store.Commit(k.tb.Context(), []*store.Write{w}).Wait()
	if w.Err != nil {
		k.tb.Fatal(w.Err)
	}
	return w.Record
}

// rows counts what an incarnation has in the store.
func (k *kit) rows(id store.ID) (n int) {
	k.tb.Helper()
	for _, kind := range everyKind {
		rows, err := k.store.Scan(k.tb.Context(), id, kind, store.Range{})
		if err != nil {
			k.tb.Fatal(err)
		}
		due, err := k.store.Due(k.tb.Context(), id.Shard(), kind, time.Now().Add(1e6*time.Hour), nil, 100)
		if err != nil {
			k.tb.Fatal(err)
		}
		n += len(rows) + len(due)
	}
	return n
}

// TestP45_DestroyRemovesEverythingInOneCommit destroys an actor that has rows of every
// kind and a stream, from inside and by the API, awake, asleep and quarantined. The
// first commit fails, which must leave all of it.
func TestP45_DestroyRemovesEverythingInOneCommit(t *testing.T) {
	t.Parallel()
	disk, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = disk.Close() })
	for name, inner := range map[string]store.Store{"memory": memory.New(memory.Options{}), "embedded": disk} {
		for _, how := range []string{"inside", "api", "asleep", "quarantined"} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				key := how
				faulty := storetest.NewFaulty(inner)
				first := newKit(t, faulty)
				first.mustAdd(key, 5)
				first.stop()
				k := newKit(t, faulty)
				record := k.furnish(key)
				if got := k.rows(record.ID); got < 3*len(everyKind) {
					t.Fatalf("the actor has %d rows", got)
				}
				if how == "quarantined" {
					record.State = []byte{0xff}
					k.put(record)
				}
				target := k.to(counterv1connect.CounterGetProcedure, key, nil).Target
				destroy := func() error { _, err := k.Destroy(t.Context(), target); return err }
				var sub *recorder
				if how == "inside" || how == "api" {
					sub = k.subscribe(key, nil)
					await(t, "opened frame", sub.opened)
				}
				if how == "inside" {
					destroy = func() error {
						k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error { c.Destroy(); return nil }
						_, err := k.add(t.Context(), key, 1)
						k.increment = nil
						return err
					}
				}
				before := k.stored(key)
				faulty.FailCommit(errors.New("disk full"))
				wantFailure(t, destroy(), failure{connect.CodeAborted, "turn_discarded", notExecuted})
				if got := k.stored(key); got.ID != before.ID || string(got.State) != string(before.State) {
					t.Fatalf("after a commit that failed, stored: %+v", got)
				}
				if got := k.rows(record.ID); got < 3*len(everyKind) {
					t.Fatalf("after a commit that failed, the actor has %d rows", got)
				}
				if err := destroy(); err != nil {
					t.Fatal(err)
				}
				if got := k.rows(record.ID); got != 0 {
					t.Errorf("%d rows are left", got)
				}
				if _, err := k.store.LoadID(t.Context(), record.ID); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("LoadID says %v", err)
				}
				if sub != nil {
					if why := await(t, "closing frame", sub.closed).GetReason(); why != troupev1.CloseReason_CLOSE_REASON_DESTROYED {
						t.Errorf("the stream closed with %v", why)
					}
				}
				if got := k.mustAdd(key, 1); got != 1 {
					t.Errorf("the namesake begins at %d", got)
				}
				if r := k.stored(key); r.ID == record.ID || r.EventHead != 1 || k.rows(r.ID) != 0 && sub == nil {
					t.Errorf("the namesake: %+v with %d rows", r, k.rows(r.ID))
				}
			})
		}
	}
}

// TestP45_ACallThatRacesADestroyGetsTheNextIncarnation has callers count while others
// destroy. No call fails, and each incarnation counts without a hole.
func TestP45_ACallThatRacesADestroyGetsTheNextIncarnation(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.mustAdd("a", 1)
	target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
	var mu sync.Mutex
	counts := make(map[store.ID]map[int64]bool)
	var adding, destroying sync.WaitGroup
	var done atomic.Bool
	destroyed := 0
	destroying.Go(func() {
		for !done.Load() {
			if _, err := k.Destroy(t.Context(), target); err == nil {
				destroyed++
			} else if failureOf(t, err) != (failure{connect.CodeNotFound, "actor_not_found", notExecuted}) {
				t.Error(err)
			}
		}
	})
	for range 8 {
		adding.Go(func() {
			for range 100 {
				reply, err := k.Call(t.Context(), k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 1}))
				if err != nil {
					t.Error(err)
					return
				}
				got := decode(t, reply, err, new(counterv1.IncrementResponse)).GetCount()
				mu.Lock()
				if counts[reply.ID] == nil {
					counts[reply.ID] = make(map[int64]bool)
				}
				if counts[reply.ID][got] {
					t.Errorf("incarnation %v counted to %d twice", reply.ID, got)
				}
				counts[reply.ID][got] = true
				mu.Unlock()
			}
		})
	}
	adding.Wait()
	done.Store(true)
	destroying.Wait()
	if destroyed == 0 {
		t.Error("nothing was destroyed meanwhile")
	}
	for id, seen := range counts {
		first := int64(1)
		if !seen[first] {
			first++ // counted once before
		}
		for n := first; n < first+int64(len(seen)); n++ {
			if !seen[n] {
				t.Errorf("incarnation %v did not count to %d", id, n)
			}
		}
	}
}

// TestP39_ConcurrentFirstCallsStartAnActorOnce calls new and sleeping actors from many
// sides.
func TestP39_ConcurrentFirstCallsStartAnActorOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		k := newKit(t, nil, append(d.options(), actors.SleepAfter(time.Second))...)
		for round := range 20 {
			var callers sync.WaitGroup
			for n := range 20 {
				callers.Go(func() {
					var err error
					if n%3 == 0 {
						_, err = k.count(t.Context(), "a")
					} else {
						_, err = k.add(t.Context(), "a", 1)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			callers.Wait()
			want := []string{"wake"}
			if round == 0 {
				want = []string{"create", "wake"}
			}
			if got := d.take(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("round %d: the hooks were %v, want %v", round, got, want)
			}
			pass(3 * time.Second)
			if got := d.take(); fmt.Sprint(got) != "[sleep]" {
				t.Fatalf("round %d: the hooks were %v", round, got)
			}
		}
		k.mustCount("a", 20*13)
	})
}

// TestP9_AHookThatFailsLeavesTheStateAsItWas has each hook of a turn change the state
// and then fail.
func TestP9_AHookThatFailsLeavesTheStateAsItWas(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"error", "panic", "deadline"} {
		spoil := func(c *counter, ctx context.Context) error {
			if c.kit.get == nil { // the sign that it is time

				return nil
			}
			c.State().Count = 1000
			c.changed()
			switch how {
			case "panic":
				panic("a hook that panics")
			case "deadline":
				<-ctx.Done()
			}
			return errors.New("a hook that fails")
		}
		conn := func(c *counter, ctx context.Context, _ *actors.Conn) error { return spoil(c, ctx) }
		for name, test := range map[string]struct {
			hook actors.Option
			do   func(*kit)
		}{
			"wake":       {actors.OnWake(spoil), func(k *kit) { _, _ = k.add(k.tb.Context(), "a", 1) }},
			"sleep":      {actors.OnSleep(spoil), func(*kit) { pass(10 * time.Second) }},
			"connect":    {actors.OnConnect(conn), func(k *kit) { s := k.subscribe("a", nil); <-s.ended }},
			"disconnect": {actors.OnDisconnect(conn), func(k *kit) { s := k.subscribe("a", nil); <-s.opened; s.cancel(); <-s.ended }},
			"state":      {actors.OnStateChange(spoil), func(k *kit) { _, _ = k.add(k.tb.Context(), "a", 1) }},
			"destroy": {actors.OnDestroy(spoil), func(k *kit) {
				_, _ = k.Destroy(k.tb.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Target)
			}},
		} {
			synctest.Test(t, func(t *testing.T) {
				t.Log(name, how)
				k := newKit(t, nil, test.hook, actors.SleepAfter(time.Second), actors.HookTimeouts{Wake: time.Second, Destroy: time.Second, Sleep: time.Second, Connect: time.Second, Action: time.Second})
				k.mustAdd("a", 5)
				before := k.stored("a")
				if name == "wake" {
					pass(3 * time.Second)
				}
				k.get = func(context.Context, *counter) error { return nil } // from here on they fail
				test.do(k)
				k.get = nil
				pass(10 * time.Second)
				k.mustCount("a", 5)
				if after := k.stored("a"); string(after.State) != string(before.State) || after.EventHead != before.EventHead {
					t.Errorf("stored: %+v, was %+v", after, before)
				}
			})
		}
	}
}
