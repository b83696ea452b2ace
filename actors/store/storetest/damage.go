// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
)

// testDamage has the record of one of three actors damaged: it is refused, its
// neighbours are served, and what is left of it can be read, replaced and destroyed by
// those who say that they know.
func testDamage(t *testing.T, target Target) {
	if target.Damage == nil {
		t.Skip("the driver's records cannot be damaged")
	}
	ctx := context.Background()
	const kind = store.KindSchedule
	rows := func() []store.RowWrite {
		return []store.RowWrite{put(store.KindKV, "k", "v"), putDue(kind, "s", "later", day)}
	}
	// setup returns a store whose record b is damaged, and b as it was.
	setup := func(t *testing.T) (store.Store, store.Record) {
		t.Helper()
		s := target.Open(t)
		b := record(s, address("b"), "first")
		must(t, s, create(record(s, address("a"), "sound")), create(b, rows()...), create(record(s, address("c"), "sound")))
		b = next(b, "second")
		must(t, s, update(b))
		return target.Damage(t, s, b.Address), b
	}
	refused := func(t *testing.T, s store.Store, b store.Record) {
		t.Helper()
		for name, read := range map[string]func() (store.Record, error){
			"Load":   func() (store.Record, error) { return s.Load(ctx, b.Address) },
			"LoadID": func() (store.Record, error) { return s.LoadID(ctx, b.ID) },
		} {
			r, err := read()
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("%s: %v, want ErrCorrupt", name, err)
			}
			same(t, name, r, store.Record{})
		}
	}
	left := func(t *testing.T, s store.Store, b store.Record) store.Record {
		t.Helper()
		r, err := s.Salvage(ctx, b.Address, store.ID{})
		if !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("Salvage: %v, want ErrCorrupt", err)
		}
		byID, err := s.Salvage(ctx, store.Address{}, b.ID)
		if !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("Salvage by id: %v, want ErrCorrupt", err)
		}
		same(t, "Salvage by id", byID, r)
		return r
	}
	intact := func(t *testing.T, s store.Store, b store.Record) {
		t.Helper()
		r := left(t, s, b)
		if string(r.State) == string(b.State) || len(r.State) != len(b.State) || string(r.State[1:4]) != string(b.State[1:4]) {
			t.Errorf("what is left of the state %q is %q", b.State, r.State)
		}
		r.State = b.State
		b.Damaged = true
		same(t, "Salvage", r, b)
	}

	t.Run("is refused and can be looked at", func(t *testing.T) {
		t.Parallel()
		s, b := setup(t)
		defer func() { closeStore(t, s) }()
		refused(t, s, b)
		intact(t, s, b)
		same(t, "its rows", scanned(t, s, b.ID, store.KindKV, store.Range{}), []string{"k=v"})
		sound := load(t, s, address("a"))
		if r, err := s.Salvage(ctx, sound.Address, store.ID{}); err != nil {
			t.Errorf("Salvage of a sound record: %v", err)
		} else {
			same(t, "Salvage of a sound record", r, sound)
		}
		for _, id := range []store.ID{{}, store.NewID(0)} {
			if r, err := s.Salvage(ctx, address("nobody"), id); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Salvage of nothing: %+v, %v", r, err)
			}
		}
		var keys []string
		for _, r := range list(t, s, store.ListQuery{Namespace: "acme", Limit: 9}) {
			if keys = append(keys, r.Key); r.State != nil {
				t.Errorf("List has the state of %q", r.Key)
			}
			if r.Key == "b" && r.ID != b.ID {
				t.Errorf("List calls it %v, want %v", r.ID, b.ID)
			}
		}
		same(t, "List", keys, []string{"a", "b", "c"})
	})

	t.Run("is not written over by who does not know", func(t *testing.T) {
		t.Parallel()
		s, b := setup(t)
		defer func() { closeStore(t, s) }()
		again, stale, staleEnd := create(record(s, b.Address, "new")), update(next(b, "new")), destroy(b)
		stale.Expect--
		staleEnd.Expect--
		late, lateEnd := update(next(b, "new")), destroy(b)
		late.Expect, late.Mend = b.Revision-1, true
		lateEnd.Expect, lateEnd.Mend = b.Revision-1, true
		other := update(next(b, "new"))
		other.Record.ID, other.Mend = store.NewID(b.ID.Shard()), true
		for name, w := range map[string]*store.Write{
			"create": again, "stale update": stale, "stale destroy": staleEnd,
			"mend of another revision": late, "destroy of another revision": lateEnd, "mend of another incarnation": other,
		} {
			w.Rows = []store.RowWrite{put(store.KindKV, "late", "row")}
			if commit(s, w); w.Err == nil {
				t.Errorf("%s was stored", name)
			}
			if w.Mend && !errors.Is(w.Err, store.ErrConflict) {
				t.Errorf("%s: %v, want ErrConflict", name, w.Err)
			}
		}
		refused(t, s, b)
		intact(t, s, b)
		same(t, "its rows", scanned(t, s, b.ID, store.KindKV, store.Range{}), []string{"k=v"})
	})

	t.Run("is replaced", func(t *testing.T) {
		t.Parallel()
		s, b := setup(t)
		defer func() { closeStore(t, s) }()
		w := update(next(b, "mended"), put(store.KindKV, "l", "w"))
		w.Mend, w.Expect = true, left(t, s, b).Revision
		w.Record.Revision, w.Record.EventHead = 1<<40, 1<<41
		neighbour := update(next(load(t, s, address("a")), "and on"))
		must(t, s, neighbour, w)
		if target.Reopen != nil {
			s = target.Reopen(t, s)
		}
		same(t, "Load", load(t, s, b.Address), w.Record)
		if byID, err := s.LoadID(ctx, b.ID); err != nil {
			t.Errorf("LoadID: %v", err)
		} else {
			same(t, "LoadID", byID, w.Record)
		}
		same(t, "its rows", scanned(t, s, b.ID, store.KindKV, store.Range{}), []string{"k=v", "l=w"})
		same(t, "its due rows", len(due(t, s, b.ID.Shard(), kind, day, nil, 9)), 1)
		same(t, "the neighbour", load(t, s, address("a")), neighbour.Record)
		must(t, s, update(next(w.Record, "on it goes")))
	})

	t.Run("is destroyed", func(t *testing.T) {
		t.Parallel()
		s, b := setup(t)
		defer func() { closeStore(t, s) }()
		end := destroy(b)
		end.Mend, end.Expect = true, left(t, s, b).Revision
		must(t, s, end)
		if _, err := s.Salvage(ctx, b.Address, store.ID{}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Salvage of what is no more: %v", err)
		}
		if _, err := s.LoadID(ctx, b.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("LoadID of what is no more: %v", err)
		}
		same(t, "its rows", scanned(t, s, b.ID, store.KindKV, store.Range{}), []string(nil))
		same(t, "its due rows", due(t, s, b.ID.Shard(), kind, day, nil, 9), []store.DueRow(nil))
		heir := record(s, b.Address, "another one")
		must(t, s, create(heir))
		same(t, "its heir", load(t, s, b.Address), heir)
	})
}
