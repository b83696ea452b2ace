// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
)

const (
	benchActors = 10_000
	benchState  = 100 // bytes
	benchDepth  = 4   // batches under way
)

// Bench measures a driver. Each sub-benchmark reports actors written or read per
// second as items/s; a write replaces a record of 100 bytes and every other one
// puts a row too.
func Bench(b *testing.B, open func(t testing.TB) store.Store) {
	for _, size := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("update/batch=%d/waited", size), func(b *testing.B) { benchUpdate(b, open, size, 1) })
		b.Run(fmt.Sprintf("update/batch=%d/pipelined", size), func(b *testing.B) { benchUpdate(b, open, size, benchDepth) })
	}
	b.Run("create/batch=64", func(b *testing.B) { benchCreate(b, open, 64) })
	b.Run("load", func(b *testing.B) { benchLoad(b, open) })
	b.Run("due", func(b *testing.B) { benchDue(b, open) })
}

// benchStore opens a store with benchActors in it.
func benchStore(b *testing.B, open func(t testing.TB) store.Store) (store.Store, []store.Record) {
	b.Helper()
	s := open(b)
	b.Cleanup(func() { closeStore(b, s) })
	records := make([]store.Record, benchActors)
	var batch []*store.Write
	for i := range records {
		records[i] = record(s, address(fmt.Sprint(i)), string(make([]byte, benchState)))
		if batch = append(batch, create(records[i])); len(batch) == 1000 {
			must(b, s, batch...)
			batch = nil
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	return s, records
}

func benchUpdate(b *testing.B, open func(t testing.TB) store.Store, size, depth int) {
	s, records := benchStore(b, open)
	row := []store.RowWrite{put(store.KindKV, "counter", "12345678")}

	// The batches are made beforehand and used in turn, so that it is the
	// driver that is measured.
	type flight struct {
		writes  []*store.Write
		pending store.Pending
	}
	free := make(chan flight, depth)
	for range depth {
		f := flight{}
		for range size {
			f.writes = append(f.writes, &store.Write{})
		}
		free <- f
	}
	flying := make(chan flight, depth)
	finished := make(chan error, 1)
	go func() {
		defer close(finished)
		for f := range flying {
			f.pending.Wait()
			for _, w := range f.writes {
				if w.Err != nil {
					select {
					case finished <- w.Err:
					default:
					}
				}
			}
			free <- f
		}
	}()
	for i := range b.N {
		f := <-free
		for j, w := range f.writes {
			r := &records[(i*size+j)%len(records)]
			r.Revision++
			w.Expect, w.Record, w.Rows = r.Revision-1, *r, nil
			if j%2 == 0 {
				w.Rows = row
			}
		}
		f.pending = s.Commit(b.Context(), f.writes)
		flying <- f
	}
	close(flying)
	if err := <-finished; err != nil {
		b.Fatal(err)
	}
	reportItems(b, size)
}

func benchCreate(b *testing.B, open func(t testing.TB) store.Store, size int) {
	s, _ := benchStore(b, open)
	state := string(make([]byte, benchState))
	for i := range b.N {
		var batch []*store.Write
		for j := range size {
			batch = append(batch, create(record(s, address(fmt.Sprintf("new/%d/%d", i, j)), state)))
		}
		must(b, s, batch...)
	}
	reportItems(b, size)
}

func benchLoad(b *testing.B, open func(t testing.TB) store.Store) {
	s, records := benchStore(b, open)
	for i := range b.N {
		if _, err := s.Load(b.Context(), records[i*7919%len(records)].Address); err != nil {
			b.Fatal(err)
		}
	}
	reportItems(b, 1)
}

// benchDue lets a queue of schedules fire, ten at a time.
func benchDue(b *testing.B, open func(t testing.TB) store.Store) {
	s, records := benchStore(b, open)
	const size = 10
	r := records[0]
	var rows []store.RowWrite
	for i := range b.N * size {
		rows = append(rows, putDue(store.KindSchedule, fmt.Sprintf("%09d", i), "", second(i)))
		if len(rows) == 1000 || i == b.N*size-1 {
			r.Revision++
			must(b, s, update(r, rows...))
			rows = nil
		}
	}
	b.ResetTimer()
	for i := range b.N {
		page := due(b, s, r.ID.Shard(), store.KindSchedule, second(b.N*size), nil, size)
		if len(page) != size || !page[0].Due.Equal(second(i*size)) {
			b.Fatalf("%d rows due", len(page))
		}
		for _, row := range page {
			rows = append(rows, remove(store.KindSchedule, string(row.Key)))
		}
		r.Revision++
		must(b, s, update(r, rows...))
		rows = rows[:0]
	}
	reportItems(b, size)
}

func reportItems(b *testing.B, size int) {
	b.Helper()
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "items/s")
}
