// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
)

func testList(t *testing.T, target Target) {
	s := open(t, target)
	ctx := context.Background()
	parts := []string{"a", "a\x00", "a\x00\x01", "a\x01", "aa", "b", "é", "\xff", "\xff\xff"}
	keys := append([]string{"", "\x00", "a/b", strings.Repeat("long", 300)}, parts...)
	var want []store.Record // of namespace "a", in order
	for _, namespace := range []string{"a", "a\x00", "aa", "\xff\xff"} {
		var batch []*store.Write
		for _, typ := range parts {
			for _, key := range keys {
				addr := store.Address{Namespace: namespace, Type: typ, Key: key}
				r := record(s, addr, "some state")
				r.EventHead, r.StateVersion = 3, 2
				batch = append(batch, create(r))
				if namespace == "a" {
					r.State = nil
					want = append(want, r)
				}
			}
		}
		must(t, s, batch...)
	}
	slices.SortFunc(want, func(a, b store.Record) int {
		if c := strings.Compare(a.Type, b.Type); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
	matching := func(typ, prefix string) []store.Record {
		return slices.DeleteFunc(slices.Clone(want), func(r store.Record) bool {
			return typ != "" && (r.Type != typ || !strings.HasPrefix(r.Key, prefix))
		})
	}

	t.Run("all of a namespace", func(t *testing.T) {
		t.Parallel()
		same(t, "List", list(t, s, store.ListQuery{Namespace: "a", Limit: 1000}), want)
		same(t, "List of an unknown namespace", list(t, s, store.ListQuery{Namespace: "ab", Limit: 1000}), []store.Record(nil))
	})

	t.Run("by type and prefix", func(t *testing.T) {
		t.Parallel()
		for _, typ := range append(slices.Clone(parts), "ab") {
			for _, prefix := range append(slices.Clone(keys), "lo", "zzz") {
				q := store.ListQuery{Namespace: "a", Type: typ, KeyPrefix: prefix, Limit: 1000}
				same(t, fmt.Sprintf("List(%+q)", []string{typ, prefix}), list(t, s, q), matching(typ, prefix))
			}
		}
	})

	t.Run("pages", func(t *testing.T) {
		t.Parallel()
		for _, q := range []store.ListQuery{
			{Namespace: "a"}, {Namespace: "a", Type: "a\x00"}, {Namespace: "a", Type: "\xff", KeyPrefix: "a"},
		} {
			for _, q.Limit = range []int{1, 3, 117} {
				all := matching(q.Type, q.KeyPrefix)
				var got []store.Record
				for q.After = nil; ; {
					page := list(t, s, q)
					if got = append(got, page...); len(page) < q.Limit {
						break
					}
					if len(page) > q.Limit || len(got) > len(all) {
						t.Fatalf("a page of %d makes %d of %d records", len(page), len(got), len(all))
					}
					q.After = &page[len(page)-1].Address
				}
				same(t, fmt.Sprintf("pages of %+v", q), got, all)
			}
		}
	})

	t.Run("after an address that is not there", func(t *testing.T) {
		t.Parallel()
		q := store.ListQuery{Namespace: "a", Type: "b", Limit: 1000}
		q.After = &store.Address{Namespace: "a", Type: "b", Key: "a/a"}
		got := list(t, s, q)
		same(t, "after a missing key", got, slices.DeleteFunc(matching("b", ""), func(r store.Record) bool { return r.Key <= "a/a" }))
		q.After = &store.Address{Namespace: "a", Type: "a", Key: "zzz"}
		same(t, "after a lower type", list(t, s, q), matching("b", ""))
		q.After = &store.Address{Namespace: "a", Type: "c"}
		same(t, "after a higher type", list(t, s, q), []store.Record(nil))
		q.After = &store.Address{Namespace: "b"}
		same(t, "after a higher namespace", list(t, s, q), []store.Record(nil))
		q.After = &store.Address{Namespace: ""}
		same(t, "after a lower namespace", list(t, s, q), matching("b", ""))
	})

	t.Run("refused queries", func(t *testing.T) {
		t.Parallel()
		for _, q := range []store.ListQuery{
			{Limit: 1}, {Namespace: "a", KeyPrefix: "a", Limit: 1}, {Namespace: "a"}, {Namespace: "a", Limit: -1},
		} {
			if _, err := s.List(ctx, q); err == nil {
				t.Errorf("List(%+v) was accepted", q)
			}
		}
	})

	t.Run("every key is found by itself", func(t *testing.T) {
		t.Parallel()
		for _, r := range want {
			if got := load(t, s, r.Address); got.ID != r.ID {
				t.Errorf("Load(%+q) is %v, want %v", r.Address, got.ID, r.ID)
			}
			got, err := s.LoadID(ctx, r.ID)
			if err != nil || got.Address != r.Address {
				t.Errorf("LoadID of %+q is %+q, %v", r.Address, got.Address, err)
			}
		}
	})
}
