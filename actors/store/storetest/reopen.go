// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
)

func testReopen(t *testing.T, target Target) {
	if target.Reopen == nil {
		t.Skip("the driver cannot be reopened")
	}
	s := target.Open(t)
	defer func() { closeStore(t, s) }()
	info := s.Info()
	kept, gone := record(s, address("kept"), "state"), record(s, address("gone"), "")
	must(t, s,
		create(kept, putDue(store.KindSchedule, "soon", "1", second(1)), putDue(store.KindSchedule, "later", "2", second(2)), put(store.KindKV, "k", "v")),
		create(gone, putDue(store.KindSchedule, "soon", "1", second(1))))
	must(t, s, destroy(gone))
	kept = next(kept, "newer")
	must(t, s, update(kept, remove(store.KindSchedule, "soon")))

	for round := range 3 {
		// Close makes durable what nobody has waited for yet.
		var group sync.WaitGroup
		var writes []*store.Write
		for i := range 10 {
			w := create(record(s, address(fmt.Sprintf("%d/%d", round, i)), ""))
			writes = append(writes, w)
			group.Go(s.Commit(t.Context(), []*store.Write{w}).Wait)
		}
		s = target.Reopen(t, s)
		group.Wait()
		for _, w := range writes {
			if w.Err != nil {
				t.Fatalf("a commit that Close met: %v", w.Err)
			}
			same(t, "record that Close met", load(t, s, w.Record.Address), w.Record)
		}

		same(t, "Info", s.Info(), info)
		same(t, "record", load(t, s, kept.Address), kept)
		same(t, "rows", scanned(t, s, kept.ID, store.KindKV, store.Range{}), []string{"k=v"})
		same(t, "due rows", due(t, s, kept.ID.Shard(), store.KindSchedule, second(9), nil, 9), []store.DueRow{dueRow(kept, "later", "2", second(2))})
		for _, id := range []store.ID{gone.ID} {
			if _, err := s.LoadID(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("LoadID of a destroyed actor: %v", err)
			}
		}
		same(t, "due rows of a destroyed actor", due(t, s, gone.ID.Shard(), store.KindSchedule, second(1), nil, 9), []store.DueRow(nil))
		same(t, "number of records", len(list(t, s, store.ListQuery{Namespace: "acme", Limit: 100})), 1+10*(round+1))

		stale, again := update(kept), create(record(s, kept.Address, ""))
		commit(s, stale)
		commit(s, again)
		if !errors.Is(stale.Err, store.ErrConflict) || !errors.Is(again.Err, store.ErrExists) {
			t.Fatalf("stale writes: %v and %v", stale.Err, again.Err)
		}
		kept = next(kept, fmt.Sprint(round))
		must(t, s, update(kept))
	}
}

// testCrash cuts the power in the middle of pipelined commits, again and again.
func testCrash(t *testing.T, target Target) {
	if target.Crash == nil {
		t.Skip("the driver cannot be crashed")
	}
	s := target.Open(t)
	defer func() { closeStore(t, s) }()
	for round := range 12 {
		ctx, stop := context.WithCancel(t.Context())
		var acked atomic.Uint64
		enough := make(chan struct{})
		first := uint64(0)
		l := &Load{Store: s, Ack: func(batch uint64) {
			if first == 0 {
				first = batch
			}
			acked.Store(batch)
			if batch == first+uint64(5*round) {
				close(enough)
			}
		}}
		failed := make(chan error, 1)
		go func() { failed <- l.Run(ctx) }()
		select {
		case <-enough:
		case err := <-failed:
			stop()
			t.Fatalf("the load ended: %v", err)
		}
		known := acked.Load()
		after := target.Crash(t, s)
		stop()
		if err := <-failed; err != nil {
			t.Errorf("the load: %v", err)
		}
		closeStore(t, s)
		s = after
		CheckLoad(t, s, known, target.WholeBatches)
	}
}
