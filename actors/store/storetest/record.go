// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

func testRecord(t *testing.T, target Target) {
	ctx := context.Background()

	t.Run("info", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		info := s.Info()
		if info.Format < 1 || info.Shards < 1 || info.Generation == 0 {
			t.Errorf("Info is %+v: format, shards and generation begin at 1", info)
		}
		if again := s.Info(); again != info {
			t.Errorf("Info changed from %+v to %+v", info, again)
		}
	})

	t.Run("keeps every field", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "state")
		r.Revision, r.StateVersion, r.EventHead = 1<<63+5, 1<<31+7, 1<<62+9
		r.CreatedAt = day.Add(123 * time.Millisecond)
		w := create(r)
		w.Record.CreatedAt = r.CreatedAt.Add(456 * time.Microsecond) // more than is kept
		must(t, s, w)
		same(t, "Load", load(t, s, r.Address), r)
		byID, err := s.LoadID(ctx, r.ID)
		if err != nil {
			t.Fatalf("LoadID: %v", err)
		}
		same(t, "LoadID", byID, r)
	})

	t.Run("not found", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		if _, err := s.Load(ctx, address("a")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Load of nothing: %v", err)
		}
		if _, err := s.LoadID(ctx, store.NewID(0)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("LoadID of nothing: %v", err)
		}
	})

	t.Run("create", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "first")
		must(t, s, create(r))
		other := create(record(s, address("a"), "second"), put(store.KindKV, "k", "v"))
		commit(s, other)
		if !errors.Is(other.Err, store.ErrExists) {
			t.Fatalf("creating it again: %v", other.Err)
		}
		same(t, "record after a refused create", load(t, s, r.Address), r)
		if _, err := s.LoadID(ctx, other.Record.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the refused id can be loaded: %v", err)
		}
		same(t, "rows of a refused create", scanned(t, s, other.Record.ID, store.KindKV, store.Range{}), []string(nil))
	})

	t.Run("update", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "first")
		must(t, s, create(r))
		r = next(r, "second, and longer")
		r.StateVersion, r.EventHead = 2, 3
		must(t, s, update(r))
		same(t, "updated record", load(t, s, r.Address), r)
		r = next(r, "")
		must(t, s, update(r))
		same(t, "record without state", load(t, s, r.Address), r)
	})

	t.Run("conflict", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "first")
		must(t, s, create(r))
		r = next(r, "second")
		must(t, s, update(r))

		stale, future, stranger := update(r), update(next(next(r, "x"), "x")), update(next(r, "x"))
		stranger.Record.ID = store.NewID(r.ID.Shard())
		elsewhere := update(next(r, "x")) // the right id at an address that is not its own
		elsewhere.Record.Key = "b"
		wrongEnd := destroy(r)
		wrongEnd.Expect--
		nobody := update(next(record(s, address("c"), "x"), "x"))
		for name, w := range map[string]*store.Write{
			"stale revision": stale, "future revision": future, "another id": stranger,
			"another address": elsewhere, "destroy of a stale revision": wrongEnd, "no such actor": nobody,
		} {
			w.Rows = []store.RowWrite{put(store.KindKV, "k", "v")}
			commit(s, w)
			if !errors.Is(w.Err, store.ErrConflict) {
				t.Errorf("%s: %v, want ErrConflict", name, w.Err)
			}
		}
		same(t, "record after conflicts", load(t, s, r.Address), r)
		same(t, "rows after conflicts", scanned(t, s, r.ID, store.KindKV, store.Range{}), []string(nil))
		if _, err := s.Load(ctx, elsewhere.Record.Address); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a refused update made a record: %v", err)
		}
		must(t, s, update(next(r, "third"))) // and the actor is still writable
	})

	t.Run("destroy", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "first")
		kinds := []store.Kind{store.KindKV, store.KindSchedule, store.KindEvent, store.KindOutbox, store.KindIdempotency}
		var rows []store.RowWrite
		for _, kind := range kinds {
			rows = append(rows, putDue(kind, "k", "v", day), put(kind, "", "at the empty key"), put(kind, "\xff\xff", "last"))
		}
		must(t, s, create(r, rows...))
		end := destroy(r)
		end.Rows = []store.RowWrite{put(store.KindKV, "late", "a row without an actor")}
		must(t, s, end)

		if _, err := s.Load(ctx, r.Address); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Load after destroy: %v", err)
		}
		if _, err := s.LoadID(ctx, r.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("LoadID after destroy: %v", err)
		}
		for _, kind := range kinds {
			same(t, "rows after destroy", scanned(t, s, r.ID, kind, store.Range{}), []string(nil))
			same(t, "due rows after destroy", due(t, s, r.ID.Shard(), kind, day, nil, 10), []store.DueRow(nil))
		}
		again := destroy(r)
		commit(s, again)
		if !errors.Is(again.Err, store.ErrConflict) {
			t.Errorf("destroying it again: %v", again.Err)
		}

		heir := record(s, address("a"), "second life")
		must(t, s, create(heir))
		same(t, "the next incarnation", load(t, s, r.Address), heir)
		ghost := update(next(r, "from the first life"))
		commit(s, ghost)
		if !errors.Is(ghost.Err, store.ErrConflict) {
			t.Errorf("a write of the former incarnation: %v", ghost.Err)
		}
		if _, err := s.LoadID(ctx, r.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the former id: %v", err)
		}
	})

	t.Run("destroy of many rows spares the neighbours", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		shard := store.ShardOf(address("a"), s.Info().Shards)
		low, mid, high := record(s, address("a"), ""), record(s, address("b"), ""), record(s, address("c"), "")
		low.ID, mid.ID, high.ID = store.NewID(shard), store.NewID(shard), store.NewID(shard)
		low.ID[15], mid.ID = 0, low.ID
		mid.ID[15] = 1
		high.ID = low.ID
		high.ID[15] = 2
		var rows []store.RowWrite
		for i := range 300 {
			rows = append(rows, put(store.KindEvent, string([]byte{byte(i >> 8), byte(i)}), "event"))
		}
		for _, r := range []store.Record{low, mid, high} {
			must(t, s, create(r, rows...))
		}
		must(t, s, destroy(mid))
		for _, r := range []store.Record{low, mid, high} {
			want := len(rows)
			if r.ID == mid.ID {
				want = 0
			}
			if got := len(scan(t, s, r.ID, store.KindEvent, store.Range{})); got != want {
				t.Errorf("actor %s has %d rows, want %d", r.Key, got, want)
			}
		}
	})

	t.Run("cancelled context", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "first")
		must(t, s, create(r))
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := s.Load(cancelled, r.Address); !errors.Is(err, context.Canceled) {
			t.Errorf("Load: %v", err)
		}
		if _, err := s.Scan(cancelled, r.ID, store.KindKV, store.Range{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Scan: %v", err)
		}
		if _, err := s.Due(cancelled, r.ID.Shard(), store.KindKV, day, nil, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("Due: %v", err)
		}
		if _, err := s.List(cancelled, store.ListQuery{Namespace: "acme", Limit: 1}); !errors.Is(err, context.Canceled) {
			t.Errorf("List: %v", err)
		}
	})
}
