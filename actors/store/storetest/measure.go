// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
)

// testMeasure covers [store.Measure], by the store itself if it can.
func testMeasure(t *testing.T, target Target) {
	t.Helper()
	s := open(t, target)
	r := record(s, address("a"), "")
	must(t, s, create(r, put(store.KindKV, "k", "12345"), put(store.KindKV, "empty", ""), put(store.KindKV, "gone", "1"), put(store.KindEvent, "other", "1")))
	must(t, s, update(next(r, ""), put(store.KindKV, "k", "123"), remove(store.KindKV, "gone")))
	keys := [][]byte{[]byte("never"), []byte("k"), []byte("gone"), []byte("empty"), []byte("other")}
	sizes, err := store.Measure(t.Context(), s, r.ID, store.KindKV, keys)
	if err != nil {
		t.Fatalf("Measure: %v", err)
	}
	same(t, "sizes", sizes, []int{0, 4, 0, 5, 0})
	if sizes, err := store.Measure(t.Context(), s, r.ID, store.KindKV, nil); err != nil || len(sizes) != 0 {
		t.Errorf("Measure of nothing: %v, %v", sizes, err)
	}
}
