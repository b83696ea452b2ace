// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"pgregory.net/rapid"
)

func TestKeyOrder(t *testing.T) {
	t.Parallel()
	text := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 'a', 0xfe, 0xff}), 0, 4)
	draw := rapid.Custom(func(t *rapid.T) store.Address {
		return store.Address{
			Namespace: string(text.Draw(t, "namespace")),
			Type:      string(text.Draw(t, "type")),
			Key:       string(text.Draw(t, "key")),
		}
	})
	order := func(a, b store.Address) int {
		if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
			return c
		}
		if c := strings.Compare(a.Type, b.Type); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		keyA, keyB := appendRecordKey(nil, a), appendRecordKey(nil, b)
		if got, want := bytes.Compare(keyA, keyB), order(a, b); got != want {
			t.Fatalf("keys %q and %q compare as %d, want %d", keyA, keyB, got, want)
		}
		if back, ok := parseRecordKey(keyA); !ok || back != a {
			t.Fatalf("%q became %+q", keyA, back)
		}
	})
}

func FuzzRecordKey(f *testing.F) {
	f.Add([]byte{tagRecord})
	f.Add(appendRecordKey(nil, store.Address{Namespace: "n", Type: "a\x00b", Key: "k"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := parseRecordKey(b)
		if ok && !bytes.Equal(appendRecordKey(nil, addr), b) {
			t.Errorf("%q was read as %+q, which is another key", b, addr)
		}
	})
}

func FuzzValue(f *testing.F) {
	f.Add([]byte("key"), []byte{valueVersion, 0, 0, 0, 0})
	f.Add([]byte("key"), append(make([]byte, recordFields-1), 0xff)) // flags of a later layout
	f.Fuzz(func(t *testing.T, key, body []byte) {
		// The checksum is made right, so that the decoders see anything at all.
		value := append(make([]byte, valueHeader), body...)
		seal(key, value)
		var r store.Record
		if err := readRecord(key, value, &r); err == nil {
			again := make([]byte, recordSize(&r))
			putRecord(key, again, &r)
			if !bytes.Equal(again, value) {
				t.Errorf("record %q was read as %+v", value, r)
			}
		}
		if row, err := readRow(key, value); err == nil && len(row.value) > len(body) {
			t.Errorf("row %q was read as %+v", value, row)
		}
		_, _ = decodeMeta(value)
	})
}

func TestPrefixEnd(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{"a": "b", "a\xff": "b", "\xff\xff": "", "\x00": "\x01"} {
		if got := string(prefixEnd([]byte(prefix))); got != want {
			t.Errorf("prefixEnd(%q) is %q, want %q", prefix, got, want)
		}
	}
}

func TestRevisionsAreBounded(t *testing.T) {
	t.Parallel()
	var r revisions
	r.init(10)
	addr := store.Address{Namespace: "n", Type: "t", Key: "k"}
	hot := store.NewID(0)
	for i := range uint64(1000) {
		r.put(store.NewID(0), addr, 1)
		r.put(hot, addr, i)
		if got, match, found := r.get(hot, addr); !found || !match || got != i {
			t.Fatalf("the busy actor is %d, %v, %v after %d writes", got, match, found, i)
		}
		if n := len(r.young) + len(r.old); n > 20 {
			t.Fatalf("%d entries", n)
		}
	}
	if _, match, _ := r.get(hot, store.Address{Namespace: "n", Type: "t", Key: "other"}); match {
		t.Error("another address matches")
	}
	r.drop(hot)
	if _, _, found := r.get(hot, addr); found {
		t.Error("a dropped actor is known")
	}
}

// TestForgottenRevisions has every other write miss the cache.
func TestForgottenRevisions(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir(), Options{MemtableBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	s.revisions.limit = 2
	for turn := range uint64(20) {
		for i := range 5 {
			addr := store.Address{Namespace: "n", Type: "t", Key: fmt.Sprint(i)}
			w := &store.Write{Op: store.OpCreate, Record: store.Record{Address: addr, ID: store.ID{15: byte(i)}, Revision: turn + 1}}
			if turn > 0 {
				w.Op, w.Expect = store.OpUpdate, turn
			}
			s.Commit(t.Context(), []*store.Write{w}).Wait()
			if w.Err != nil {
				t.Fatalf("turn %d of actor %d: %v", turn, i, w.Err)
			}
		}
	}
}

func TestMarks(t *testing.T) {
	t.Parallel()
	var m marks
	const shard, kind = 3, store.KindSchedule
	low := func() int64 {
		k, low := m.begin(shard, kind)
		m.end(k, math.MinInt64) // a scan that has found out nothing
		return low
	}
	first, _ := m.begin(shard, kind)
	m.end(first, 100)
	if low() != 100 {
		t.Fatalf("the mark is %d after a scan up to 100", low())
	}
	second, _ := m.begin(shard, kind)
	m.lower(duePlace{shard, kind, 150}) // added behind the back of the second scan
	m.lower(duePlace{shard, kind + 1, 5})
	m.end(second, 200)
	if low() != 150 {
		t.Fatalf("the mark is %d, but there is a row at 150", low())
	}
	m.lower(duePlace{shard, kind, 40})
	if low() != 40 {
		t.Fatalf("the mark is %d, but there is a row at 40", low())
	}
	third, _ := m.begin(shard, kind)
	fourth, _ := m.begin(shard, kind)
	m.lower(duePlace{shard, kind, 60})
	m.end(third, 300)
	m.end(fourth, 400)
	if low() != 60 {
		t.Fatalf("the mark is %d, but there is a row at 60", low())
	}
}

// TestDueIndexIsCleared counts what is left of rows that have moved and gone.
func TestDueIndexIsCleared(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	addr := store.Address{Namespace: "n", Type: "t", Key: "k"}
	w := &store.Write{Op: store.OpCreate, Record: store.Record{Address: addr, ID: store.NewID(7)}}
	for turn := range uint64(100) {
		w.Record.Revision = turn + 1
		w.Rows = []store.RowWrite{{Kind: store.KindSchedule, Row: store.Row{Key: []byte("k"), Due: time.Unix(int64(turn), 0)}}}
		s.Commit(t.Context(), []*store.Write{w}).Wait()
		if w.Err != nil {
			t.Fatal(w.Err)
		}
		w.Op, w.Expect = store.OpUpdate, w.Record.Revision
	}
	if got := countKeys(t, s, tagDue); got != 100 {
		t.Fatalf("%d places before the scan", got)
	}
	rows, err := s.Due(t.Context(), 7, store.KindSchedule, time.Unix(1000, 0), nil, 10)
	if err != nil || len(rows) != 1 {
		t.Fatalf("Due: %d rows, %v", len(rows), err)
	}
	if got := countKeys(t, s, tagDue); got != 1 {
		t.Errorf("%d places after the scan", got)
	}
}

func countKeys(t *testing.T, s *Store, tag byte) (n int) {
	t.Helper()
	iter, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for ok := iter.SeekGE([]byte{tag}); ok && iter.Key()[0] == tag; ok = iter.Next() {
		n++
	}
	if err := iter.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}
