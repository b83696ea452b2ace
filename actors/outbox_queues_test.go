// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// TestP25_OneReceiverByItsKeyAndByItsID sends to an actor in both ways. These are two
// queues, and one does not wait for the other: what comes late in one of them must not
// be taken for what came again.
func TestP25_OneReceiverByItsKeyAndByItsID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, l := newKit(t, nil), new(log)
		id, refused := "", make(map[int64]bool)
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			if c.Key()[0] == "a" {
				byID := func(amount int64) error {
					return c.Outbox().Send(actors.Peer{ID: id}, counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: amount})
				}
				return errors.Join(c.post("b", 1), byID(2), c.post("b", 3), byID(4))
			}
			if n := req.GetAmount(); n < 3 && !refused[n] {
				refused[n] = true
				return actors.Errorf(connect.CodeAborted, "not_now", "try again")
			}
			l.add("b", req.GetAmount())
			return nil
		}
		k.mustAdd("b", 100)
		record, err := k.store.Load(t.Context(), k.address("b"))
		if err != nil {
			t.Fatal(err)
		}
		id = record.ID.String()
		k.mustAdd("a", 1)
		pass(time.Hour)
		synctest.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		place := make(map[int64]int)
		for n, amount := range l.told["b"] {
			place[amount] = n
		}
		if len(l.told["b"]) != 5 || len(place) != 5 || place[1] > place[3] || place[2] > place[4] {
			t.Errorf("b got %d, want 100 and then 1 before 3 and 2 before 4, each once", l.told["b"])
		}
	})
}

// TestP25_AFailureOfAMessageThatIsGone has a message fail that another node has
// delivered meanwhile: the one behind it must stay what it is.
func TestP25_AFailureOfAMessageThatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, l := newKit(t, nil, actors.SleepAfter(time.Second)), new(log)
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			switch {
			case c.Key()[0] == "a":
				return errors.Join(c.post("b", 1), c.post("b", 2))
			case req.GetAmount() == 1:
				pass(20 * time.Second)
				return actors.Errorf(connect.CodeAborted, "not_now", "try again")
			}
			l.add("b", req.GetAmount())
			return nil
		}
		k.mustAdd("a", 1)
		pass(10 * time.Second) // a sleeps; b is at its first message
		record, err := k.store.Load(t.Context(), k.address("a"))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := k.store.Scan(t.Context(), record.ID, store.KindOutbox, store.Range{From: []byte("m"), To: []byte("n")})
		if err != nil || len(rows) != 2 {
			t.Fatalf("%d messages, %v", len(rows), err)
		}
		record.Revision++
		w := &store.Write{Op: store.OpUpdate, Record: record, Expect: record.Revision - 1, Rows: []store.RowWrite{
			{Kind: store.KindOutbox, Op: store.RowDelete, Row: store.Row{Key: rows[0].Key}},
			{Kind: store.KindOutbox, Row: store.Row{Key: rows[1].Key, Value: rows[1].Value, Due: time.Now()}},
		}}
		if k.store.Commit(t.Context(), []*store.Write{w}).Wait(); w.Err != nil {
			t.Fatal(w.Err)
		}
		pass(time.Hour)
		synctest.Wait()
		l.want(t, "b", 2)
	})
}
