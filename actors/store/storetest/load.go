// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
)

// Load keeps a store busy with batches that each write the same few actors, so that
// what survives a crash can be checked by [CheckLoad]. It goes on where an earlier
// Load on the same store stopped.
type Load struct {
	// Store is the store to write to.
	Store store.Store
	// Ack is called with the number of each batch once it is durable, in order.
	Ack func(batch uint64)
	// Depth is how many batches may be under way; 0 means 4.
	Depth int
}

const (
	loadActors = 8
	loadEvents = 10 // how many events an actor keeps
)

func loadAddress(actor int) store.Address {
	return store.Address{Namespace: "load", Type: "storetest.Load", Key: fmt.Sprint(actor)}
}

// loadState is what the actor's state is after a batch: now short, now long.
func loadState(actor int, batch uint64) string {
	size := 20
	if (batch+uint64(actor))%3 == 0 {
		size = 2000
	}
	return fmt.Sprintf("%0*d", size, batch)
}

// Run writes until ctx ends or a write fails. Everything it has begun has been
// waited for when it returns.
func (l *Load) Run(ctx context.Context) error {
	depth := l.Depth
	if depth == 0 {
		depth = 4
	}
	records := make([]store.Record, loadActors)
	for i := range records {
		records[i] = record(l.Store, loadAddress(i), "")
		records[i].Revision = 0
		if stored, err := l.Store.Load(ctx, loadAddress(i)); err == nil {
			records[i] = stored
		}
	}
	type flight struct {
		batch   uint64
		pending store.Pending
		writes  []*store.Write
	}
	flights := make(chan flight, depth-1)
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for f := range flights {
			f.pending.Wait()
			for _, w := range f.writes {
				if w.Err != nil {
					select {
					case failed <- fmt.Errorf("batch %d: %w", f.batch, w.Err):
					default:
					}
				}
			}
			if len(failed) == 0 {
				l.Ack(f.batch)
			}
		}
	}()
	for ctx.Err() == nil && len(failed) == 0 {
		var writes []*store.Write
		for i := range records {
			records[i].Revision++
			writes = append(writes, loadWrite(i, records[i]))
		}
		flights <- flight{records[0].Revision, l.Store.Commit(ctx, writes), writes}
	}
	close(flights)
	return <-failed
}

func loadWrite(actor int, r store.Record) *store.Write {
	r.State = []byte(loadState(actor, r.Revision))
	text := fmt.Sprintf("%09d", r.Revision)
	w := update(r,
		putDue(store.KindSchedule, "wake", text, second(int(r.Revision))),
		put(store.KindKV, "batch", text),
		put(store.KindEvent, text, text),
	)
	if r.Revision == 1 {
		w.Op = store.OpCreate
	}
	if r.Revision > loadEvents {
		first := fmt.Sprintf("%09d", r.Revision-loadEvents)
		w.Rows = append(w.Rows, removeRange(store.KindEvent, "", first+"\x00"))
	}
	return w
}

// CheckLoad fails the test if s has lost a batch up to acked or holds a part of one,
// after the store that a [Load] was writing to went down in whatever way. With whole,
// all actors must be at the same batch. It returns the newest batch found.
func CheckLoad(t testing.TB, s store.Store, acked uint64, whole bool) uint64 {
	t.Helper()
	var newest, oldest uint64
	for i := range loadActors {
		r, err := s.Load(t.Context(), loadAddress(i))
		if err != nil {
			if acked > 0 {
				t.Fatalf("Load of actor %d: %v", i, err)
			}
			continue
		}
		if r.Revision < acked {
			t.Fatalf("actor %d is at batch %d, but %d was acknowledged", i, r.Revision, acked)
		}
		checkLoadActor(t, s, i, r)
		newest = max(newest, r.Revision)
		if oldest == 0 || r.Revision < oldest {
			oldest = r.Revision
		}
	}
	if whole && newest != oldest {
		t.Fatalf("a batch is torn: actors are at %d to %d", oldest, newest)
	}
	return newest
}

func checkLoadActor(t testing.TB, s store.Store, actor int, r store.Record) {
	t.Helper()
	same(t, "state", string(r.State), loadState(actor, r.Revision))
	text := fmt.Sprintf("%09d", r.Revision)
	same(t, "row", scanned(t, s, r.ID, store.KindKV, store.Range{}), []string{"batch=" + text})
	var events []string
	for n := max(r.Revision, loadEvents) - loadEvents + 1; n <= r.Revision; n++ {
		events = append(events, fmt.Sprintf("%09d=%09d", n, n))
	}
	same(t, "events", scanned(t, s, r.ID, store.KindEvent, store.Range{}), events)
	at := second(int(r.Revision))
	var wakes []store.DueRow
	for _, row := range due(t, s, r.ID.Shard(), store.KindSchedule, at.Add(1e18), nil, 100) {
		if row.ID == r.ID {
			wakes = append(wakes, row)
		}
	}
	same(t, "due rows", wakes, []store.DueRow{dueRow(r, "wake", text, at)})
}
