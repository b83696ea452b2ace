// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

// TestP14_ChangedValues changes one stored value after the other behind the store's
// back: the actor is refused as corrupt, and its neighbour served.
func TestP14_ChangedValues(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s := openStore(t, postgres.Options{URL: url})
	defer closeStore(t, s)
	conn := session(t, url)
	due := put("k", "value")
	due.Due = day
	a, b := newActor(s, "a", due), newActor(s, "b", due)
	commit(t, s, a, b)
	read := func(w *store.Write) map[string]error {
		_, byAddress := s.Load(t.Context(), w.Record.Address)
		_, byID := s.LoadID(t.Context(), w.Record.ID)
		_, scan := s.Scan(t.Context(), w.Record.ID, store.KindKV, store.Range{})
		_, keys := s.Scan(t.Context(), w.Record.ID, store.KindKV, store.Range{KeysOnly: true})
		due, dueRows := s.Due(t.Context(), w.Record.ID.Shard(), store.KindKV, day, nil, 9)
		for _, row := range due {
			if row.Damaged { // it is found, and marked
				dueRows = store.ErrCorrupt
			}
		}
		listed, list := s.List(t.Context(), store.ListQuery{Namespace: "acme", Type: w.Record.Type, KeyPrefix: w.Record.Key, Limit: 9})
		for _, r := range listed {
			if r.Damaged { // it is listed, and marked
				list = store.ErrCorrupt
			}
		}
		return map[string]error{"Load": byAddress, "LoadID": byID, "Scan": scan, "Scan of keys": keys, "Due": dueRows, "List": list}
	}
	id := [16]byte(a.Record.ID)
	for change, noticed := range map[string][]string{
		`actor SET state = 'bOrn' WHERE id = $1`:           {"Load", "LoadID"},
		`actor SET state = '' WHERE id = $1`:               {"Load", "LoadID", "List"},
		`actor SET revision = 2 WHERE id = $1`:             {"Load", "LoadID", "List"},
		`actor SET revision = 0 WHERE id = $1`:             {"Load", "LoadID", "List"},
		`actor SET event_head = 2 WHERE id = $1`:           {"Load", "LoadID", "List"},
		`actor SET quarantined = true WHERE id = $1`:       {"Load", "LoadID", "List"},
		`actor SET sum = 0 WHERE id = $1`:                  {"Load", "LoadID", "List"},
		`actor SET key = 'ab' WHERE id = $1`:               {"Load", "LoadID", "List"},
		`actor_row SET value = 'another' WHERE actor = $1`: {"Scan", "Due"},
		`actor_row SET due = due - 1 WHERE actor = $1`:     {"Scan", "Due"},
		`actor_row SET due = NULL WHERE actor = $1`:        {"Scan"},
		`actor_row SET key = 'l' WHERE actor = $1`:         {"Scan", "Due"},
		`actor_row SET sum = 0 WHERE actor = $1`:           {"Scan", "Due"},
	} {
		exec(t, conn, `CREATE TEMPORARY TABLE kept_actor AS TABLE actor; CREATE TEMPORARY TABLE kept_row AS TABLE actor_row`)
		exec(t, conn, `UPDATE `+change, id)
		for name, err := range read(a) {
			if want := slices.Contains(noticed, name); want != errors.Is(err, store.ErrCorrupt) || !want && err != nil {
				t.Errorf("%s: %s gives %v", change, name, err)
			}
		}
		for name, err := range read(b) {
			if err != nil {
				t.Errorf("%s: %s of the neighbour: %v", change, name, err)
			}
		}
		if slices.Contains(noticed, "Load") {
			left, err := s.Salvage(t.Context(), a.Record.Address, store.ID{})
			if !errors.Is(err, store.ErrCorrupt) || !left.Damaged || left.ID != a.Record.ID || left.Address != a.Record.Address {
				t.Errorf("%s: Salvage gives %+v, %v", change, left, err)
			}
			mend := &store.Write{Op: store.OpUpdate, Mend: true, Expect: left.Revision, Record: a.Record}
			mend.Record.Revision = 9
			commit(t, s, mend)
			for name, err := range read(a) {
				if err != nil {
					t.Errorf("%s: %s of what was mended: %v", change, name, err)
				}
			}
		}
		exec(t, conn, `DELETE FROM actor; DELETE FROM actor_row; INSERT INTO actor TABLE kept_actor; INSERT INTO actor_row TABLE kept_row; DROP TABLE kept_actor, kept_row`)
	}
	for name, err := range read(a) {
		if err != nil {
			t.Errorf("in the end: %s: %v", name, err)
		}
	}
}

// TestLongKeys lists keys that are longer than what an index holds of them.
func TestLongKeys(t *testing.T) {
	t.Parallel()
	s := openStore(t, postgres.Options{URL: pgtest.Database(t)})
	defer closeStore(t, s)
	var keys []string
	var writes []*store.Write
	for i := range 30 {
		key := strings.Repeat("%AB", 330+i) + fmt.Sprint(i%3)
		keys = append(keys, key)
		writes = append(writes, newActor(s, key))
	}
	huge := newActor(s, strings.Repeat("k", 16<<10))
	commit(t, s, append(writes, huge)...)
	slices.Sort(keys)
	keys = append(keys, huge.Record.Key)
	for _, size := range []int{1, 7, 100} {
		var got []string
		q := store.ListQuery{Namespace: "acme", Limit: size}
		for {
			page, err := s.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				got = append(got, r.Key)
			}
			if len(page) < size {
				break
			}
			q.After = &page[len(page)-1].Address
		}
		if !slices.Equal(got, keys) {
			t.Errorf("pages of %d: %d keys, want %d in order", size, len(got), len(keys))
		}
	}
	prefix := strings.Repeat("%AB", 345)
	page, err := s.List(t.Context(), store.ListQuery{Namespace: "acme", Type: "shop.v1.Cart", KeyPrefix: prefix, Limit: 100})
	if err != nil || len(page) != 15 {
		t.Errorf("%d keys with a long prefix, %v; want 15", len(page), err)
	}
	refused := newActor(s, "a")
	refused.Record.Type = strings.Repeat("t", 1100)
	neighbour := newActor(s, "b")
	s.Commit(t.Context(), []*store.Write{refused, neighbour}).Wait()
	if refused.Err == nil || neighbour.Err != nil {
		t.Errorf("a type that is too long: %v; its neighbour: %v", refused.Err, neighbour.Err)
	}
}
