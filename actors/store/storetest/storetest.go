// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package storetest is the suite that every store driver passes, and what tests of
// other packages need of a store: see [Faulty].
//
// A driver's own test hands in a [Target] and adds only what is special to it:
//
//	func TestStore(t *testing.T) {
//		storetest.RunTarget(t, storetest.Target{Open: open, Reopen: reopen})
//	}
//
//	func BenchmarkStore(b *testing.B) { storetest.Bench(b, open) }
package storetest

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/troupe-dev/troupe/actors/store"
)

// Target says how to open the stores that the suite works on. The functions are
// called from several tests at once.
type Target struct {
	// Open opens a new and empty store. The suite closes it. Required.
	Open func(t testing.TB) store.Store

	// Reopen closes s and opens what it has left behind. Nil if the driver
	// keeps nothing.
	Reopen func(t testing.TB, s store.Store) store.Store

	// Crash opens what a power cut at this moment would leave of s. It does
	// not touch s, on which commits may be running and which the suite
	// closes. Nil if the driver cannot tell.
	Crash func(t testing.TB, s store.Store) store.Store

	// Damage changes a bit of the state of the record at addr, which has one, as a
	// failing disk might, and returns the store to go on with. Nil if the driver
	// cannot be brought to it.
	Damage func(t testing.TB, s store.Store, addr store.Address) store.Store

	// WholeBatches says that a batch survives a crash whole or not at all,
	// which is more than the seam asks for.
	WholeBatches bool
}

// Run runs the suite for a driver that cannot be reopened.
func Run(t *testing.T, open func(t testing.TB) store.Store) {
	RunTarget(t, Target{Open: open})
}

// RunTarget runs the suite.
func RunTarget(t *testing.T, target Target) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Target)
	}{
		{"Record", testRecord},
		{"Batch", testBatch},
		{"Order", testOrder},
		{"Rows", testRows},
		{"Scan", testScan},
		{"Measure", testMeasure},
		{"Due", testDue},
		{"DueShards", testDueShards},
		{"Expire", testExpire},
		{"List", testList},
		{"Values", testValues},
		{"Damage", testDamage},
		{"Model", testModel},
		{"Concurrency", testConcurrency},
		{"Faults", testFaults},
		{"Reopen", testReopen},
		{"Crash", testCrash},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, target)
		})
	}
}

// day is when the tests take place.
var day = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// check is what helpers need of a test; rapid's T has it too.
type check interface {
	Helper()
	Fatalf(format string, args ...any)
}

// open opens a store of the target and closes it when the test ends.
func open(t *testing.T, target Target) store.Store {
	t.Helper()
	s := target.Open(t)
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// address is an address in the usual namespace with the usual type.
func address(key string) store.Address {
	return store.Address{Namespace: "acme", Type: "shop.v1.Cart", Key: key}
}

// record returns the first revision of a new actor.
func record(s store.Store, addr store.Address, state string) store.Record {
	return store.Record{
		Address:    addr,
		ID:         store.NewID(store.ShardOf(addr, s.Info().Shards)),
		Revision:   1,
		State:      []byte(state),
		StateBytes: len(state),
		CreatedAt:  day,
	}
}

// next returns the record that follows r.
func next(r store.Record, state string) store.Record {
	r.Revision++
	r.State, r.StateBytes = []byte(state), len(state)
	return r
}

func create(r store.Record, rows ...store.RowWrite) *store.Write {
	return &store.Write{Op: store.OpCreate, Record: r, Rows: rows}
}

func update(r store.Record, rows ...store.RowWrite) *store.Write {
	return &store.Write{Op: store.OpUpdate, Expect: r.Revision - 1, Record: r, Rows: rows}
}

func destroy(r store.Record) *store.Write {
	return &store.Write{
		Op: store.OpDestroy, Expect: r.Revision,
		Record: store.Record{Address: r.Address, ID: r.ID},
	}
}

func put(kind store.Kind, key, value string) store.RowWrite {
	return store.RowWrite{Kind: kind, Op: store.RowPut, Row: store.Row{Key: []byte(key), Value: []byte(value)}}
}

func putDue(kind store.Kind, key, value string, due time.Time) store.RowWrite {
	w := put(kind, key, value)
	w.Due = due
	return w
}

func remove(kind store.Kind, key string) store.RowWrite {
	return store.RowWrite{Kind: kind, Op: store.RowDelete, Row: store.Row{Key: []byte(key)}}
}

// removeRange removes [from, to); the empty to is the end.
func removeRange(kind store.Kind, from, to string) store.RowWrite {
	w := store.RowWrite{Kind: kind, Op: store.RowDeleteRange, Row: store.Row{Key: []byte(from)}}
	if to != "" {
		w.End = []byte(to)
	}
	return w
}

// commit commits the writes as one batch and waits.
func commit(s store.Store, writes ...*store.Write) {
	s.Commit(context.Background(), writes).Wait()
}

// must commits the writes as one batch; none may fail.
func must(t check, s store.Store, writes ...*store.Write) {
	t.Helper()
	commit(s, writes...)
	for i, w := range writes {
		if w.Err != nil {
			t.Fatalf("write %d of %+v: %v", i, w.Record.Address, w.Err)
		}
	}
}

func load(t check, s store.Store, addr store.Address) store.Record {
	t.Helper()
	r, err := s.Load(context.Background(), addr)
	if err != nil {
		t.Fatalf("Load(%+v): %v", addr, err)
	}
	return r
}

func scan(t check, s store.Store, id store.ID, kind store.Kind, r store.Range) []store.Row {
	t.Helper()
	rows, err := s.Scan(context.Background(), id, kind, r)
	if err != nil {
		t.Fatalf("Scan(kind %d, %+v): %v", kind, r, err)
	}
	return rows
}

// scanned returns rows as "key=value", which is easy to compare.
func scanned(t check, s store.Store, id store.ID, kind store.Kind, r store.Range) []string {
	t.Helper()
	var texts []string
	for _, row := range scan(t, s, id, kind, r) {
		texts = append(texts, fmt.Sprintf("%s=%s", row.Key, row.Value))
	}
	return texts
}

func due(t check, s store.Store, shard uint16, kind store.Kind, until time.Time, after *store.DueRow, limit int) []store.DueRow {
	t.Helper()
	rows, err := s.Due(context.Background(), shard, kind, until, after, limit)
	if err != nil {
		t.Fatalf("Due(until %v): %v", until, err)
	}
	return rows
}

func list(t check, s store.Store, q store.ListQuery) []store.Record {
	t.Helper()
	records, err := s.List(context.Background(), q)
	if err != nil {
		t.Fatalf("List(%+v): %v", q, err)
	}
	return records
}

// comparison takes nil and empty slices for the same. Bytes are compared as a whole:
// one by one takes most of the suite's time.
var comparison = cmp.Options{
	cmp.Comparer(bytes.Equal),
	cmp.FilterPath(func(p cmp.Path) bool { return p.Last().Type() != reflect.TypeFor[[]byte]() }, cmpopts.EquateEmpty()),
}

// same fails the test unless got is want; nil and empty slices are the same.
func same(t check, what string, got, want any) {
	t.Helper()
	if reflect.DeepEqual(want, got) {
		return // what cmp would say, in a tenth of the time
	}
	if diff := cmp.Diff(want, got, comparison); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}
