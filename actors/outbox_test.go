// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	"google.golang.org/protobuf/proto"
)

// post sends a counter a message that adds to it.
func (c *counter) post(to string, amount int64) error {
	return c.Outbox().Send(actors.Peer{Key: []string{to}}, counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: amount})
}

func (k *kit) address(key string) store.Address {
	return store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: key}
}

// log is what the counters of a test were told, in order.
type log struct {
	mu   sync.Mutex
	told map[string][]int64
}

func (l *log) add(key string, amount int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told == nil {
		l.told = make(map[string][]int64)
	}
	l.told[key] = append(l.told[key], amount)
}

func (l *log) want(t *testing.T, key string, want ...int64) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := l.told[key]; !slices.Equal(got, want) {
		t.Errorf("%s was told %v, want %v", key, got, want)
	}
}

func TestP25_AMessageIsPartOfItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, l := newKit(t, nil), new(log)
		k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
			if key := c.Key()[0]; key != "a" {
				l.add(key, req.GetAmount())
				if got := actors.SubjectOf(ctx); got != "actor:counter.v1.Counter/a" {
					t.Errorf("the subject is %q", got)
				}
				return nil
			}
			for n := range req.GetAmount() {
				if err := errors.Join(c.post("b", n+1), c.post("c", -n-1)); err != nil {
					t.Error(err)
				}
			}
			if req.GetAmount() == 2 {
				return actors.Errorf(connect.CodeAborted, "changed_my_mind", "no")
			}
			return nil
		}
		for _, amount := range []int64{3, 2, 1} {
			_, _ = k.add(t.Context(), "a", amount)
		}
		synctest.Wait()
		l.want(t, "b", 1, 2, 3, 1)
		l.want(t, "c", -1, -2, -3, -1)
		k.mustCount("b", 7)
		if rows := k.outbox("a"); len(rows) != 1 || k.held("a") != 0 {
			t.Errorf("the outbox keeps %q and counts %d", rows, k.held("a"))
		}
	})
}

// held returns how many messages an outbox counts.
func (k *kit) held(key string) uint32 {
	k.tb.Helper()
	record, err := k.store.Load(k.tb.Context(), k.address(key))
	if err != nil {
		k.tb.Fatal(err)
	}
	rows, err := k.store.Scan(k.tb.Context(), record.ID, store.KindOutbox, store.Range{From: []byte("h"), To: []byte("i")})
	if err != nil || len(rows) != 1 {
		k.tb.Fatalf("%d rows, %v", len(rows), err)
	}
	head := new(storagev1.Outbox)
	if err := proto.Unmarshal(rows[0].Value, head); err != nil {
		k.tb.Fatal(err)
	}
	return head.GetHeld()
}

// outbox returns the keys of an actor's rows about messages.
func (k *kit) outbox(key string) []string {
	k.tb.Helper()
	record, err := k.store.Load(k.tb.Context(), k.address(key))
	if err != nil {
		k.tb.Fatal(err)
	}
	rows, err := k.store.Scan(k.tb.Context(), record.ID, store.KindOutbox, store.Range{})
	if err != nil {
		k.tb.Fatal(err)
	}
	keys := make([]string, len(rows))
	for n, row := range rows {
		keys[n] = string(row.Key)
	}
	return keys
}

func TestP10_AMessageLeavesWhenItsTurnIsDurable(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			faulty := storetest.NewFaulty(memory.New(memory.Options{}))
			k, l := newKit(t, faulty), new(log)
			k.mustAdd("a", 1)
			k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
				if key := c.Key()[0]; key != "a" {
					l.add(key, req.GetAmount())
					return nil
				}
				return c.post("b", req.GetAmount())
			}
			hold := faulty.HoldWaits()
			if fails {
				faulty.FailCommit(errors.New("disk full"))
			}
			answer := make(chan error, 1)
			go func() { _, err := k.add(t.Context(), "a", 1); answer <- err }()
			pass(time.Minute) // the row can be read long before it is durable
			l.want(t, "b")
			hold.Release()
			err := <-answer
			pass(time.Minute)
			switch {
			case fails:
				wantFailure(t, err, failure{connect.CodeAborted, "turn_discarded", notExecuted})
				l.want(t, "b")
			case err != nil:
				t.Error(err)
			default:
				l.want(t, "b", 1)
			}
		})
	}
}

// TestP25_ARepeatedMessageTakesEffectOnce fails the commit that removes a message after
// it was taken, before and after it is stored.
func TestP25_ARepeatedMessageTakesEffectOnce(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(f *storetest.Faulty, at store.Address){
		"lost":    func(f *storetest.Faulty, at store.Address) { f.FailCommit(errors.New("disk full"), at) },
		"unknown": func(f *storetest.Faulty, at store.Address) { f.FailCommitAfter(store.ErrUnknown, at) },
	} {
		for _, where := range []string{"a", "b"} { // the sender's commit, the receiver's
			synctest.Test(t, func(t *testing.T) {
				faulty := storetest.NewFaulty(memory.New(memory.Options{}))
				k, l := newKit(t, faulty), new(log)
				k.mustAdd("a", 1)
				k.mustAdd("b", 1)
				k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
					switch key := c.Key()[0]; key {
					case "a":
						return errors.Join(c.post("b", 10), c.post("b", 100))
					case "b":
						if l.add(key, req.GetAmount()); where == "b" && len(l.told["b"]) == 1 || where == "a" && len(l.told["b"]) == 2 {
							if where == "a" {
								faulty.FailCommit(nil) // this turn's own
							}
							fault(faulty, k.address(where))
						}
					}
					return nil
				}
				k.mustAdd("a", 1)
				pass(time.Minute)
				k.mustCount("b", 111)
				if where == "a" {
					l.want(t, "b", 10, 100)
				} else if got := len(l.told["b"]); name == "lost" && got != 3 {
					t.Errorf("b ran %v", l.told["b"])
				}
				if rows := k.outbox("a"); len(rows) != 1 {
					t.Errorf("%s at %s: the outbox keeps %q", name, where, rows)
				}
			})
		}
	}
}

func TestP25_AMessageThatFailsKeepsItsPlaceUntilItIsDead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logs := new(logBuffer)
		k := startKit(t, &kit{configure: func(cfg *actors.Config) { cfg.Logger = slog.New(slog.NewTextHandler(logs, nil)) }})
		l := new(log)
		var attempts []time.Time
		fails := 3
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			switch key := c.Key()[0]; key {
			case "a":
				return errors.Join(c.post("b", 1), c.post("b", 2), c.post("c", 3))
			case "b":
				if req.GetAmount() == 1 {
					if attempts = append(attempts, time.Now()); len(attempts) <= fails {
						if len(attempts)%2 == 0 {
							panic("a receiver that panics")
						}
						return errors.New("a receiver that fails")
					}
				}
				fallthrough
			default:
				l.add(key, req.GetAmount())
			}
			return nil
		}
		k.mustAdd("a", 5)
		synctest.Wait()
		l.want(t, "c", 3) // does not wait for b
		l.want(t, "b")
		pass(time.Minute)
		l.want(t, "b", 1, 2)

		attempts, fails = nil, 100
		k.mustAdd("a", 5)
		pass(3 * time.Hour)
		l.want(t, "b", 1, 2, 2)
		if len(attempts) != 12 {
			t.Fatalf("%d attempts, want 12", len(attempts))
		}
		for n, want := 1, 2*time.Second; n < len(attempts); n, want = n+1, min(2*want, 10*time.Minute) {
			if got := attempts[n].Sub(attempts[n-1]); got < want*3/4 || got > want*5/4 {
				t.Errorf("the pause before attempt %d is %s, want %s", n+1, got, want)
			}
		}
		if rows := k.outbox("a"); len(rows) != 2 || k.held("a") != 1 {
			t.Errorf("the outbox keeps %q and counts %d", rows, k.held("a"))
		}
		if said := logs.String(); strings.Count(said, "a message has failed for good") != 1 || strings.Count(said, "a message has failed and is tried again") != 2 || !strings.Contains(said, "attempts=12") {
			t.Errorf("the log says %s", said)
		}
	})
}

// TestP25_OverloadOfAReceiverKillsNoMessage: a full mailbox is nobody's verdict.
func TestP25_OverloadOfAReceiverKillsNoMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, l := newKit(t, nil, actors.MailboxSize(1), actors.ActionTimeout(300*time.Second)), new(log)
		busy := make(chan struct{})
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			switch {
			case c.Key()[0] == "a":
				return c.post("b", 1)
			case req.GetAmount() > 1:
				<-busy
			default:
				l.add("b", req.GetAmount())
			}
			return nil
		}
		answers := make(chan error, 2)
		for range 2 {
			go func() { _, err := k.add(t.Context(), "b", 2); answers <- err }()
			synctest.Wait()
		}
		k.mustAdd("a", 1)
		pass(100 * time.Second) // 12 attempts and more
		l.want(t, "b")
		close(busy)
		if err := errors.Join(<-answers, <-answers); err != nil {
			t.Error(err)
		}
		pass(5 * time.Second)
		l.want(t, "b", 1)
	})
}

func (nothing) Wait() {}

func TestAMessageToOneselfIsALaterTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			if req.GetAmount() > 1 {
				return c.post("a", req.GetAmount()-1)
			}
			return nil
		}
		if got := k.mustAdd("a", 4); got != 4 {
			t.Errorf("the reply is %d", got)
		}
		synctest.Wait()
		k.mustCount("a", 10)
	})
}

func TestP45_AnActorTakesItsMessagesWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, l := newKit(t, nil), new(log)
		var ready atomic.Bool
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			switch {
			case c.Key()[0] == "b" && !ready.Load():
				return errors.New("not now")
			case c.Key()[0] == "b":
				l.add("b", req.GetAmount())
				return nil
			case req.GetAmount() > 1:
				c.Destroy()
			}
			return c.post("b", req.GetAmount())
		}
		k.mustAdd("a", 1)
		_, err := k.add(t.Context(), "a", 2)
		wantFailure(t, err, failure{connect.CodeFailedPrecondition, "outbox_lost", notExecuted})
		synctest.Wait() // a message under way is not taken back
		if _, err := k.Destroy(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Target); err != nil {
			t.Fatal(err)
		}
		ready.Store(true)
		pass(time.Hour)
		l.want(t, "b")
		k.mustAdd("a", 1) // a new incarnation, whose first message is its own
		synctest.Wait()
		l.want(t, "b", 1)
	})
}

// TestAMessageFindsTheReceiverThatHasItsKey destroys the receiver while a message is
// on its way.
func TestAMessageFindsTheReceiverThatHasItsKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		var ready atomic.Bool
		ready.Store(true)
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			switch {
			case c.Key()[0] == "a":
				return c.post("b", req.GetAmount())
			case !ready.Load():
				return errors.New("not now")
			}
			return nil
		}
		k.mustAdd("a", 1)
		synctest.Wait()
		k.mustCount("b", 1)
		ready.Store(false)
		k.mustAdd("a", 10)
		synctest.Wait()
		if _, err := k.Destroy(t.Context(), k.to(counterv1connect.CounterGetProcedure, "b", nil).Target); err != nil {
			t.Fatal(err)
		}
		ready.Store(true)
		pass(time.Minute)
		k.mustCount("b", 10)
	})
}

// TestAMessageCarriesTheTraceOfItsTurn, though it is delivered later, and leaves out what is
// no text: HTTP lets such bytes through, and a row cannot keep them.
func TestAMessageCarriesTheTraceOfItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, trace := newKit(t, nil), ""
		k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error {
			switch c.Key()[0] {
			case "c":
				info, _ := connect.CallInfoForServerContext(ctx)
				trace = info.RequestHeader().Get("traceparent") + info.RequestHeader().Get("baggage")
				return nil
			case "b":
				return c.post("c", 1)
			}
			ctx, info := connect.NewClientContext(ctx)
			info.RequestHeader().Set("traceparent", "00-1-2-01")
			info.RequestHeader().Set("baggage", "a=\xff")
			_, err := c.peer("b").Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
			return err
		}
		k.mustAdd("a", 1)
		synctest.Wait()
		if trace != "00-1-2-01" {
			t.Errorf("the trace is %q", trace)
		}
	})
}

func TestP45_WhatAHookHasSentIsNotOfTheTurnThatDestroys(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, actors.OnWake(func(c *counter, _ context.Context) error {
		if c.Key()[0] == "a" {
			return c.post("b", 1)
		}
		return nil
	}))
	k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error {
		if c.Key()[0] == "a" {
			c.Destroy()
		}
		return nil
	}
	if _, err := k.add(t.Context(), "a", 1); err != nil {
		t.Errorf("the hook had a turn of its own: %v", err)
	}
}
