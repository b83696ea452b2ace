// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

func testRows(t *testing.T, target Target) {
	t.Run("put, replace and delete", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "")
		must(t, s, create(r, put(store.KindKV, "a", "1"), put(store.KindKV, "b", "2"), put(store.KindEvent, "a", "event")))
		r = next(r, "")
		must(t, s, update(r, put(store.KindKV, "a", "one"), remove(store.KindKV, "b"), remove(store.KindKV, "nothing"), put(store.KindKV, "c", "")))
		same(t, "keys", scanned(t, s, r.ID, store.KindKV, store.Range{KeysOnly: true}), []string{"a=", "c="})
		same(t, "rows", scanned(t, s, r.ID, store.KindKV, store.Range{}), []string{"a=one", "c="})
		same(t, "rows of another kind", scanned(t, s, r.ID, store.KindEvent, store.Range{}), []string{"a=event"})
	})

	t.Run("applied in order", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "")
		must(t, s, create(r,
			put(store.KindKV, "a", "1"), remove(store.KindKV, "a"), put(store.KindKV, "a", "2"),
			put(store.KindKV, "b", "1"), put(store.KindKV, "c", "1"), put(store.KindEvent, "b", "another kind"),
			removeRange(store.KindKV, "b", "d"), put(store.KindKV, "c", "2"),
			put(store.KindKV, "d", "1"), remove(store.KindKV, "d"),
		))
		same(t, "rows", scanned(t, s, r.ID, store.KindKV, store.Range{}), []string{"a=2", "c=2"})
		same(t, "rows of another kind", scanned(t, s, r.ID, store.KindEvent, store.Range{}), []string{"b=another kind"})
	})

	t.Run("actors do not share rows", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		a, b := record(s, address("a"), ""), record(s, address("b"), "")
		b.ID = a.ID
		b.ID[15]++
		must(t, s, create(a, put(store.KindKV, "k", "a")), create(b, put(store.KindKV, "k", "b")))
		must(t, s, update(next(a, ""), removeRange(store.KindKV, "", "")))
		same(t, "rows of the one", scanned(t, s, a.ID, store.KindKV, store.Range{}), []string(nil))
		same(t, "rows of the other", scanned(t, s, b.ID, store.KindKV, store.Range{}), []string{"k=b"})
	})

	for _, n := range []int{10, 500} { // drivers may treat few and many in different ways
		t.Run(fmt.Sprintf("delete range of %d", n), func(t *testing.T) {
			t.Parallel()
			s := open(t, target)
			r := record(s, address("a"), "")
			key := func(i int) string { return fmt.Sprintf("%03d", i) }
			var rows []store.RowWrite
			var left []string
			for i := range n {
				rows = append(rows, putDue(store.KindEvent, key(i), "v", day))
				left = append(left, key(i)+"=v")
			}
			rows = append(rows, put(store.KindEvent-1, "999", "lower kind"), put(store.KindEvent+1, "", "higher kind"))
			must(t, s, create(r, rows...))
			verify := func(what string) {
				t.Helper()
				same(t, what, scanned(t, s, r.ID, store.KindEvent, store.Range{}), left)
				if got := len(due(t, s, r.ID.Shard(), store.KindEvent, day, nil, n+1)); got != len(left) {
					t.Fatalf("%s: %d rows due, want %d", what, got, len(left))
				}
			}
			apply := func(w store.RowWrite) {
				t.Helper()
				r = next(r, "")
				must(t, s, update(r, w))
			}
			apply(removeRange(store.KindEvent, key(5), key(5)))
			verify("an empty range")
			apply(removeRange(store.KindEvent, key(7), key(3)))
			verify("a range that ends before it begins")
			apply(removeRange(store.KindEvent, key(2), key(5)))
			left = slices.Delete(left, 2, 5)
			verify("a range in the middle")
			apply(removeRange(store.KindEvent, key(n-1), ""))
			left = left[:len(left)-1]
			verify("a range without end")
			apply(removeRange(store.KindEvent, "", key(n-2)))
			left = left[len(left)-1:]
			verify("a range from the beginning")
			apply(removeRange(store.KindEvent, "", ""))
			left = nil
			verify("everything")
			same(t, "lower kind", scanned(t, s, r.ID, store.KindEvent-1, store.Range{}), []string{"999=lower kind"})
			same(t, "higher kind", scanned(t, s, r.ID, store.KindEvent+1, store.Range{}), []string{"=higher kind"})
		})
	}

	t.Run("delete range after many puts of one write", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "")
		var rows []store.RowWrite
		for i := range 200 {
			rows = append(rows, put(store.KindKV, fmt.Sprintf("%03d", i), ""))
		}
		rows = append(rows, removeRange(store.KindKV, "001", "199"), put(store.KindKV, "100", "back"))
		must(t, s, create(r, rows...))
		same(t, "rows", scanned(t, s, r.ID, store.KindKV, store.Range{}), []string{"000=", "100=back", "199="})
	})
}

func testScan(t *testing.T, target Target) {
	s := open(t, target)
	r := record(s, address("a"), "")
	keys := []string{"", "\x00", "\x00\x00", "a", "a\x00", "ab", "b", "b\xff", "\xff", "\xff\xff"}
	var rows []store.RowWrite
	for _, i := range []int{3, 1, 4, 0, 5, 9, 2, 6, 8, 7} {
		rows = append(rows, put(store.KindKV, keys[i], fmt.Sprint(i)))
	}
	must(t, s, create(r, rows...))

	bounds := [][]byte{nil}
	for _, key := range append(slices.Clone(keys), "\x01", "aa", "c") {
		bounds = append(bounds, []byte(key))
	}
	for _, from := range bounds {
		for _, to := range bounds {
			var inside []string
			for i, key := range keys {
				if key >= string(from) && (to == nil || key < string(to)) {
					inside = append(inside, fmt.Sprintf("%s=%d", key, i))
				}
			}
			for _, reverse := range []bool{false, true} {
				for _, limit := range []int{0, 1, 3, 100} {
					want := slices.Clone(inside)
					if reverse {
						slices.Reverse(want)
					}
					if limit > 0 && len(want) > limit {
						want = want[:limit]
					}
					q := store.Range{From: from, To: to, Limit: limit, Reverse: reverse}
					same(t, fmt.Sprintf("Scan %+q", []any{from, to, limit, reverse}), scanned(t, s, r.ID, store.KindKV, q), want)
				}
			}
		}
	}
	same(t, "rows of an unknown actor", scanned(t, s, store.NewID(r.ID.Shard()), store.KindKV, store.Range{}), []string(nil))

	r = next(r, "")
	at := day.Add(1234567 * time.Nanosecond)
	must(t, s, update(r, putDue(store.KindSchedule, "k", "v", at)))
	same(t, "Scan of a due row", scan(t, s, r.ID, store.KindSchedule, store.Range{}),
		[]store.Row{{Key: []byte("k"), Value: []byte("v"), Due: at.Truncate(time.Microsecond)}})
	if !scan(t, s, r.ID, store.KindKV, store.Range{Limit: 1})[0].Due.IsZero() {
		t.Errorf("a row without due time has one")
	}
}
