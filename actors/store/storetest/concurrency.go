// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
)

func testConcurrency(t *testing.T, target Target) {
	ctx := context.Background()

	t.Run("writers of one actor", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		r := record(s, address("a"), "")
		must(t, s, create(r))
		const writers, turns = 8, 30
		var group sync.WaitGroup
		for range writers {
			group.Go(func() {
				for won := 0; won < turns; {
					current, err := s.Load(ctx, r.Address)
					if err != nil {
						t.Errorf("Load: %v", err)
						return
					}
					w := update(next(current, fmt.Sprint(current.Revision+1)))
					commit(s, w)
					switch {
					case w.Err == nil:
						won++
					case !errors.Is(w.Err, store.ErrConflict):
						t.Errorf("update: %v", w.Err)
						return
					}
				}
			})
		}
		group.Wait()
		got := load(t, s, r.Address)
		if want := uint64(1 + writers*turns); got.Revision != want || string(got.State) != fmt.Sprint(want) {
			t.Errorf("after %d turns the revision is %d with state %q", want-1, got.Revision, got.State)
		}
	})

	t.Run("creators of one address", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		for round := range 20 {
			var group sync.WaitGroup
			writes := make([]*store.Write, 8)
			for i := range writes {
				writes[i] = create(record(s, address(fmt.Sprint(round)), ""))
				group.Go(func() { commit(s, writes[i]) })
			}
			group.Wait()
			var winner *store.Write
			for _, w := range writes {
				switch {
				case w.Err == nil && winner == nil:
					winner = w
				case !errors.Is(w.Err, store.ErrExists):
					t.Fatalf("second creation: %v", w.Err)
				}
			}
			if winner == nil {
				t.Fatal("no creation succeeded")
			}
			same(t, "record", load(t, s, winner.Record.Address), winner.Record)
		}
	})

	t.Run("readers beside a writer", func(t *testing.T) {
		t.Parallel()
		s := open(t, target)
		rs := together(s, 4)
		var batch []*store.Write
		for _, r := range rs {
			batch = append(batch, create(r, turnRows(1)...))
		}
		must(t, s, batch...)
		const turns = 150
		done := make(chan struct{})
		var group sync.WaitGroup
		for i := range 3 {
			group.Go(func() {
				for n := i; ; n++ {
					select {
					case <-done:
						return
					default:
					}
					if err := readTurn(ctx, s, rs[n%len(rs)]); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		pending := make(chan store.Pending, 3)
		group.Go(func() {
			for p := range pending {
				p.Wait()
			}
		})
		var writes []*store.Write
		for turn := range turns {
			var batch []*store.Write
			for _, r := range rs {
				r.Revision = uint64(turn + 2)
				batch = append(batch, update(r, turnRows(turn+2)...))
			}
			writes = append(writes, batch...)
			pending <- s.Commit(ctx, batch)
		}
		close(pending)
		close(done)
		group.Wait()
		for _, w := range writes {
			if w.Err != nil {
				t.Fatalf("update: %v", w.Err)
			}
		}
	})
}

// turnRows are rows that change together, one of them due at a time that moves.
func turnRows(turn int) []store.RowWrite {
	value := fmt.Sprintf("%04d", turn)
	return []store.RowWrite{
		put(store.KindKV, "first", value),
		put(store.KindKV, "second", value),
		putDue(store.KindSchedule, "wake", value, second(turn)),
	}
}

// readTurn reads an actor that is being written to in every way, and returns an
// error if what it reads was never there at one moment.
func readTurn(ctx context.Context, s store.Store, r store.Record) error {
	before, err := s.LoadID(ctx, r.ID)
	if err != nil {
		return fmt.Errorf("LoadID: %w", err)
	}
	rows, err := s.Scan(ctx, r.ID, store.KindKV, store.Range{})
	if err != nil {
		return fmt.Errorf("Scan: %w", err)
	}
	if len(rows) != 2 || string(rows[0].Value) != string(rows[1].Value) {
		return fmt.Errorf("torn rows: %q", rows)
	}
	if string(rows[0].Value) < fmt.Sprintf("%04d", before.Revision) {
		return fmt.Errorf("rows of turn %s after revision %d was seen", rows[0].Value, before.Revision)
	}
	wakes, err := s.Due(ctx, r.ID.Shard(), store.KindSchedule, second(1<<20), nil, 100)
	if err != nil {
		return fmt.Errorf("Due: %w", err)
	}
	found := false
	for _, wake := range wakes {
		if wake.ID != r.ID {
			continue
		}
		if found {
			return errors.New("a row is due twice")
		}
		found = true
		if string(wake.Value) < string(rows[0].Value) {
			return fmt.Errorf("due row of turn %s after turn %s was seen", wake.Value, rows[0].Value)
		}
	}
	if !found {
		return fmt.Errorf("no due row among %d", len(wakes))
	}
	after, err := s.Load(ctx, r.Address)
	if err != nil {
		return fmt.Errorf("Load: %w", err)
	}
	if after.Revision < before.Revision {
		return fmt.Errorf("revision %d after %d", after.Revision, before.Revision)
	}
	listed, err := s.List(ctx, store.ListQuery{Namespace: r.Namespace, Limit: 100})
	if err != nil {
		return fmt.Errorf("List: %w", err)
	}
	if len(listed) != 4 {
		return fmt.Errorf("List: %d records", len(listed))
	}
	return nil
}
