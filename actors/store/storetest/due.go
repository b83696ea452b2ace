// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// together returns new records of one shard, in order of id.
func together(s store.Store, n int) []store.Record {
	shards := s.Info().Shards
	var records []store.Record
	shard := store.ShardOf(address("0"), shards)
	for i := 0; len(records) < n; i++ {
		if addr := address(fmt.Sprint(i)); store.ShardOf(addr, shards) == shard {
			records = append(records, record(s, addr, ""))
		}
	}
	slices.SortFunc(records, func(a, b store.Record) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return records
}

// second is a time on the day of the tests.
func second(n int) time.Time { return day.Add(time.Duration(n) * time.Second) }

func dueRow(r store.Record, key, value string, at time.Time) store.DueRow {
	return store.DueRow{ID: r.ID, Row: store.Row{Key: []byte(key), Value: []byte(value), Due: at}}
}

func testDue(t *testing.T, target Target) {
	const kind = store.KindSchedule

	t.Run("order, bounds and pages", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		rs := together(s, 3)
		shard := rs[0].ID.Shard()
		must(t, s,
			create(rs[2], putDue(kind, "b", "2b", second(1)), putDue(kind, "a", "2a", second(1)), putDue(kind, "c", "2c", second(-5))),
			create(rs[0], putDue(kind, "z", "0z", second(1)), put(kind, "never", ""), putDue(store.KindOutbox, "z", "", second(1))),
			create(rs[1], putDue(kind, "", "1", second(3)), putDue(kind, "old", "1old", time.Unix(-1000, 5000))))
		all := []store.DueRow{
			dueRow(rs[1], "old", "1old", time.Unix(-1000, 5000).UTC()),
			dueRow(rs[2], "c", "2c", second(-5)),
			dueRow(rs[0], "z", "0z", second(1)),
			dueRow(rs[2], "a", "2a", second(1)),
			dueRow(rs[2], "b", "2b", second(1)),
			dueRow(rs[1], "", "1", second(3)),
		}
		for range 2 { // a scan must not change what the next one finds
			same(t, "all", due(t, s, shard, kind, second(3), nil, 100), all)
			same(t, "just before the last", due(t, s, shard, kind, second(3).Add(-time.Nanosecond), nil, 100), all[:5])
			same(t, "none", due(t, s, shard, kind, time.Unix(-1000, 4999), nil, 100), []store.DueRow(nil))
			same(t, "another kind", due(t, s, shard, store.KindOutbox, second(9), nil, 9), []store.DueRow{dueRow(rs[0], "z", "", second(1))})
			same(t, "another shard", due(t, s, (shard+1)%s.Info().Shards, kind, second(9), nil, 9), []store.DueRow(nil))
			same(t, "far future", due(t, s, shard, kind, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), nil, 100), all)
			for size := 1; size <= 4; size++ {
				var pages []store.DueRow
				var after *store.DueRow
				for {
					page := due(t, s, shard, kind, second(3), after, size)
					if pages = append(pages, page...); len(page) < size {
						break
					}
					after = &page[len(page)-1]
				}
				same(t, fmt.Sprintf("pages of %d", size), pages, all)
			}
		}
		// A cursor needs no row of its own.
		same(t, "after a row that is not there", due(t, s, shard, kind, second(3), &store.DueRow{ID: rs[2].ID, Row: store.Row{Key: []byte("aa"), Due: second(1)}}, 9), all[4:])
	})

	t.Run("to the microsecond", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "")
		at := day.Add(5999 * time.Nanosecond)
		must(t, s, create(r, putDue(kind, "k", "", at)))
		same(t, "before", due(t, s, r.ID.Shard(), kind, day.Add(4999*time.Nanosecond), nil, 9), []store.DueRow(nil))
		same(t, "at", due(t, s, r.ID.Shard(), kind, day.Add(5*time.Microsecond), nil, 9), []store.DueRow{dueRow(r, "k", "", day.Add(5*time.Microsecond))})
	})

	t.Run("follows the row", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "")
		now := func() []store.DueRow {
			t.Helper()
			return due(t, s, r.ID.Shard(), kind, second(10), nil, 100)
		}
		step := func(rows ...store.RowWrite) {
			t.Helper()
			r = next(r, "")
			must(t, s, update(r, rows...))
		}
		must(t, s, create(r, putDue(kind, "k", "1", second(5))))
		same(t, "new", now(), []store.DueRow{dueRow(r, "k", "1", second(5))})
		step(putDue(kind, "k", "2", second(7)))
		same(t, "moved later", now(), []store.DueRow{dueRow(r, "k", "2", second(7))})
		step(putDue(kind, "k", "3", second(3)))
		same(t, "moved earlier", now(), []store.DueRow{dueRow(r, "k", "3", second(3))})
		step(putDue(kind, "k", "4", second(3)))
		same(t, "replaced in place", now(), []store.DueRow{dueRow(r, "k", "4", second(3))})
		step(putDue(kind, "k", "5", second(11)))
		same(t, "moved out of sight", now(), []store.DueRow(nil))
		step(putDue(kind, "k", "6", second(3)))
		same(t, "moved back to where it was", now(), []store.DueRow{dueRow(r, "k", "6", second(3))})
		step(put(kind, "k", "7"))
		same(t, "without due time", now(), []store.DueRow(nil))
		step(putDue(kind, "k", "8", second(2)), remove(kind, "k"))
		same(t, "put and deleted at once", now(), []store.DueRow(nil))
		step(remove(kind, "k"), putDue(kind, "k", "9", second(4)), putDue(kind, "l", "9", second(1)))
		same(t, "deleted and put at once", now(), []store.DueRow{dueRow(r, "l", "9", second(1)), dueRow(r, "k", "9", second(4))})
		step(removeRange(kind, "l", ""))
		same(t, "range deleted", now(), []store.DueRow{dueRow(r, "k", "9", second(4))})
		step(remove(kind, "k"))
		same(t, "deleted", now(), []store.DueRow(nil))
	})

	t.Run("an earlier row after a scan that found nothing", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		rs := together(s, 2)
		shard := rs[0].ID.Shard()
		must(t, s, create(rs[0], putDue(kind, "late", "", second(100))), create(rs[1]))
		same(t, "nothing yet", due(t, s, shard, kind, second(50), nil, 9), []store.DueRow(nil))
		rs[1] = next(rs[1], "")
		must(t, s, update(rs[1], putDue(kind, "early", "", second(1))))
		same(t, "the earlier one", due(t, s, shard, kind, second(50), nil, 9), []store.DueRow{dueRow(rs[1], "early", "", second(1))})
		must(t, s, update(next(rs[1], ""), remove(kind, "early")))
		same(t, "fired", due(t, s, shard, kind, second(50), nil, 9), []store.DueRow(nil))
		same(t, "the later one", due(t, s, shard, kind, second(100), nil, 9), []store.DueRow{dueRow(rs[0], "late", "", second(100))})
	})

	t.Run("seen before it is durable", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "")
		same(t, "nothing", due(t, s, r.ID.Shard(), kind, second(9), nil, 9), []store.DueRow(nil))
		w := create(r, putDue(kind, "k", "", second(1)))
		p := s.Commit(context.Background(), []*store.Write{w})
		same(t, "before Wait", due(t, s, r.ID.Shard(), kind, second(9), nil, 9), []store.DueRow{dueRow(r, "k", "", second(1))})
		p.Wait()
		if w.Err != nil {
			t.Fatal(w.Err)
		}
	})

	t.Run("a queue that moves on", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "")
		var rows []store.RowWrite
		const n = 300
		for i := range n {
			rows = append(rows, putDue(kind, fmt.Sprintf("%03d", i), "", second(i)))
		}
		must(t, s, create(r, rows...))
		for fired := 0; fired < n; {
			page := due(t, s, r.ID.Shard(), kind, second(n), nil, 7)
			if len(page) != min(7, n-fired) {
				t.Fatalf("%d rows due after %d fired", len(page), fired)
			}
			var done []store.RowWrite
			for _, row := range page {
				if !row.Due.Equal(second(fired)) {
					t.Fatalf("row due at %v, want %v", row.Due, second(fired))
				}
				if fired++; fired%10 == 0 { // goes to the end of the queue without a due time
					done = append(done, put(kind, string(row.Key), "done"))
				} else {
					done = append(done, remove(kind, string(row.Key)))
				}
			}
			r = next(r, "")
			must(t, s, update(r, done...))
		}
		same(t, "in the end", due(t, s, r.ID.Shard(), kind, second(n), nil, 7), []store.DueRow(nil))
	})
}

func testExpire(t *testing.T, target Target) {
	const kind = store.KindIdempotency
	s := open(t, target)
	rs := together(s, 2)
	shard := rs[0].ID.Shard()
	expire := func(until time.Time, limit, want int) {
		t.Helper()
		n, err := s.Expire(context.Background(), shard, kind, until, limit)
		if err != nil || n != want {
			t.Fatalf("Expire removed %d rows, %v; want %d", n, err, want)
		}
	}
	expire(second(100), 10, 0)
	must(t, s,
		create(rs[0], putDue(kind, "a", "0a", second(1)), putDue(kind, "b", "0b", second(2)), putDue(kind, "c", "0c", second(9)), put(kind, "never", "0n")),
		create(rs[1], putDue(kind, "a", "1a", second(1)), putDue(kind, "moved", "", second(1)), putDue(store.KindSchedule, "other", "", second(1))))
	rs[1] = next(rs[1], "")
	must(t, s, update(rs[1], putDue(kind, "moved", "1m", second(9))))

	expire(second(1).Add(-time.Microsecond), 10, 0)
	expire(second(5), 1, 1)
	expire(second(5), 10, 2)
	expire(second(5), 10, 0)
	for _, r := range rs {
		rows, err := s.Scan(context.Background(), r.ID, kind, store.Range{})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if !row.Due.IsZero() && row.Due.Before(second(9)) {
				t.Errorf("%s is still there", row.Value)
			}
		}
	}
	same(t, "what is left", due(t, s, shard, kind, second(10), nil, 9), []store.DueRow{
		dueRow(rs[0], "c", "0c", second(9)), dueRow(rs[1], "moved", "1m", second(9)),
	})
	same(t, "another kind", due(t, s, shard, store.KindSchedule, second(10), nil, 9), []store.DueRow{dueRow(rs[1], "other", "", second(1))})
	// The actors go on as if nothing had been.
	must(t, s, update(next(rs[0], "state"), putDue(kind, "a", "again", second(3))))
	expire(second(3), 10, 1)
}

func testDueShards(t *testing.T, target Target) {
	s := open(t, target)
	const kind = store.KindSchedule
	at := func(kind store.Kind) []store.DueShard {
		t.Helper()
		found, err := s.DueShards(context.Background(), kind)
		if err != nil {
			t.Fatalf("DueShards: %v", err)
		}
		for n := range found {
			found[n].From = found[n].From.UTC()
		}
		return found
	}
	same(t, "of an empty store", at(kind), []store.DueShard(nil))
	var want []store.DueShard
	seen := make(map[uint16]bool)
	for n := range 40 {
		r := record(s, address(fmt.Sprint("shards-", n)), "")
		shard := r.ID.Shard()
		if seen[shard] {
			continue
		}
		seen[shard] = true
		must(t, s, create(r,
			putDue(kind, "later", "", second(1000+n)), putDue(kind, "first", "", second(n-20)),
			put(store.KindKV, "k", ""), putDue(store.KindIdempotency, "i", "", second(5)), putDue(store.KindEvent, "e", "", second(7))))
		want = append(want, store.DueShard{Shard: shard, From: second(n - 20).UTC()})
	}
	slices.SortFunc(want, func(a, b store.DueShard) int { return cmp.Compare(a.Shard, b.Shard) })
	same(t, "of one kind", at(kind), want)
	same(t, "of a kind without rows", at(store.KindOutbox), []store.DueShard(nil))
	for n := range want {
		want[n].From = second(5).UTC()
	}
	same(t, "of the last kind", at(store.KindIdempotency), want)
}
