// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
)

func testBatch(t *testing.T, target Target) {
	t.Run("empty", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		commit(s)
	})

	t.Run("one that fails leaves its neighbours alone", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		var records []store.Record
		for i := range 9 {
			r := record(s, address(fmt.Sprintf("%d", i)), "old")
			records = append(records, r)
			must(t, s, create(r))
		}
		var batch []*store.Write
		for i, r := range records {
			w := update(next(r, "new"), put(store.KindKV, "k", "v"))
			switch i % 3 {
			case 1:
				w.Expect = 7
			case 2:
				w.Op, w.Record.ID = store.OpCreate, store.NewID(r.ID.Shard())
			}
			batch = append(batch, w)
		}
		commit(s, batch...)
		for i, w := range batch {
			want, state, rows := error(nil), "new", []string{"k=v"}
			switch i % 3 {
			case 1:
				want, state, rows = store.ErrConflict, "old", nil
			case 2:
				want, state, rows = store.ErrExists, "old", nil
			}
			if !errors.Is(w.Err, want) {
				t.Errorf("write %d: %v, want %v", i, w.Err, want)
			}
			if got := load(t, s, w.Record.Address); string(got.State) != state || got.ID != records[i].ID {
				t.Errorf("write %d left state %q of %v, want %q of %v", i, got.State, got.ID, state, records[i].ID)
			}
			same(t, "rows", scanned(t, s, records[i].ID, store.KindKV, store.Range{}), rows)
		}
	})

	t.Run("an unlawful write changes nothing", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		long := make([]byte, 1281)
		bad := []*store.Write{
			create(record(s, address("row key"), ""), put(store.KindKV, "k", "v"), put(store.KindKV, string(long), "v")),
			create(record(s, address("kind"), ""), put(0, "k", "v")),
			create(record(s, address("row op"), ""), store.RowWrite{Kind: store.KindKV, Op: 99}),
			{Op: 99, Record: record(s, address("op"), "")},
		}
		good := create(record(s, address("good"), ""), put(store.KindKV, string(long[1:]), "the longest key"))
		commit(s, append(bad, good)...)
		for _, w := range bad {
			if w.Err == nil || errors.Is(w.Err, store.ErrUnknown) {
				t.Errorf("%s: %v, want a definite refusal", w.Record.Key, w.Err)
			}
			if _, err := s.Load(context.Background(), w.Record.Address); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s was stored: %v", w.Record.Key, err)
			}
		}
		if good.Err != nil {
			t.Errorf("their neighbour: %v", good.Err)
		}
	})

	t.Run("keeps no slice that it was given", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "state")
		row := put(store.KindKV, "key", "value")
		must(t, s, create(r, row))
		for _, b := range [][]byte{r.State, row.Key, row.Value} {
			clear(b)
		}
		got := load(t, s, r.Address)
		same(t, "state", string(got.State), "state")
		rows := scan(t, s, r.ID, store.KindKV, store.Range{})
		if len(rows) != 1 {
			t.Fatalf("%d rows", len(rows))
		}
		same(t, "row", string(rows[0].Key)+string(rows[0].Value), "keyvalue")

		// And what it gives out is the caller's, down to the spare capacity.
		for _, b := range [][]byte{got.State, rows[0].Key, rows[0].Value} {
			_ = append(b, "overflow"...)
			clear(b)
		}
		same(t, "state again", string(load(t, s, r.Address).State), "state")
		same(t, "row again", scanned(t, s, r.ID, store.KindKV, store.Range{}), []string{"key=value"})
	})

	t.Run("an earlier error is forgotten", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		w := create(record(s, address("a"), ""))
		w.Err = store.ErrConflict
		must(t, s, w)
	})
}

func testOrder(t *testing.T, target Target) {
	waits := map[string]func([]store.Pending) []store.Pending{
		"first to last": func(p []store.Pending) []store.Pending { return p },
		"last to first": func(p []store.Pending) []store.Pending {
			var reversed []store.Pending
			for i := range p {
				reversed = append(reversed, p[len(p)-1-i])
			}
			return reversed
		},
	}
	for name, order := range waits {
		t.Run("pipelined, waits "+name, func(t *testing.T) {
			t.Parallel()
			s := open(t, target)
			ctx := context.Background()
			r := record(s, address("a"), "0")
			batches := [][]*store.Write{{create(r)}}
			for i := range 20 {
				r = next(r, fmt.Sprint(i+1))
				batches = append(batches, []*store.Write{
					update(r, put(store.KindKV, "last", fmt.Sprint(i+1)), put(store.KindEvent, fmt.Sprintf("%02d", i), "")),
				})
			}
			stale := update(r)
			batches = append(batches, []*store.Write{stale})
			var pending []store.Pending
			for i, batch := range batches {
				pending = append(pending, s.Commit(ctx, batch))
				if i+1 == len(batches) {
					continue
				}
				// What has its place is seen, whether durable or not.
				same(t, "Load before Wait", load(t, s, r.Address), batch[0].Record)
				if byID, err := s.LoadID(ctx, r.ID); err != nil || byID.Revision != batch[0].Record.Revision {
					t.Fatalf("LoadID before Wait: revision %d, %v", byID.Revision, err)
				}
				if got := len(scan(t, s, r.ID, store.KindEvent, store.Range{})); got != i {
					t.Fatalf("Scan before Wait: %d events, want %d", got, i)
				}
				if got := list(t, s, store.ListQuery{Namespace: "acme", Limit: 1}); len(got) != 1 || got[0].Revision != batch[0].Record.Revision {
					t.Fatalf("List before Wait: %+v", got)
				}
			}
			for _, p := range order(pending) {
				p.Wait()
			}
			for i, batch := range batches[:len(batches)-1] {
				if batch[0].Err != nil {
					t.Errorf("batch %d: %v", i, batch[0].Err)
				}
			}
			if !errors.Is(stale.Err, store.ErrConflict) {
				t.Errorf("the last batch, which repeats the one before: %v", stale.Err)
			}
			same(t, "final record", load(t, s, r.Address), r)
			same(t, "final row", scanned(t, s, r.ID, store.KindKV, store.Range{}), []string{"last=20"})
		})
	}

	t.Run("lives of one address", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		var pending []store.Pending
		var writes []*store.Write
		for range 10 {
			r := record(s, address("a"), "born")
			second := next(r, "grown")
			for _, w := range []*store.Write{create(r, put(store.KindKV, "k", "v")), update(second), destroy(second)} {
				writes = append(writes, w)
				pending = append(pending, s.Commit(context.Background(), []*store.Write{w}))
			}
		}
		for i := range pending {
			pending[len(pending)-1-i].Wait()
		}
		for i, w := range writes {
			if w.Err != nil {
				t.Errorf("write %d: %v", i, w.Err)
			}
		}
		if _, err := s.Load(context.Background(), address("a")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after the last life: %v", err)
		}
	})
}
