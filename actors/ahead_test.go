// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
)

// TestP12_TurnsRunAheadOfTheDiskUpToTheirLimit has the disk keep a commit back.
func TestP12_TurnsRunAheadOfTheDiskUpToTheirLimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{1, 3, 64} {
		synctest.Test(t, func(t *testing.T) {
			faulty := storetest.NewFaulty(memory.New(memory.Options{}))
			options := []actors.Option{actors.MaxUndurableTurns(int(limit))}
			if limit == 64 && *depth == 0 {
				options = nil // the default
			}
			k := newKit(t, faulty, options...)
			k.mustAdd("a", 1)
			var ran atomic.Int64
			k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error { ran.Add(1); return nil }
			hold := faulty.HoldWaits()
			var callers sync.WaitGroup
			for range 100 {
				callers.Go(func() {
					if _, err := k.add(t.Context(), "a", 1); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			if got := ran.Load(); got != limit {
				t.Errorf("%d turns have run ahead of the disk, want %d", got, limit)
			}
			hold.Release()
			callers.Wait()
			k.mustCount("a", 101)
		})
	}
}
