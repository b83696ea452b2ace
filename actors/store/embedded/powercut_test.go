// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

// powerCuts is how often the power is cut: TROUPE_POWER_CUTS, or 15.
func powerCuts(t *testing.T) int {
	t.Helper()
	text := os.Getenv("TROUPE_POWER_CUTS")
	if text == "" {
		return 15
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TROUPE_POWER_CUTS=%q is not a number of cuts", text)
	}
	return n
}

// TestP11_PowerCutAtARandomCall cuts the power as the store makes some call of the
// file system, in the middle of its load, and goes on with what a disk may then hold:
// all that was synced, and of the rest nothing, all, or any blocks and directory
// entries. What was acknowledged before is there, and no batch is there in part.
func TestP11_PowerCutAtARandomCall(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	disk := vfs.NewCrashableMem()
	var acked uint64
	for n := range powerCuts(t) {
		cut := &powerCut{
			disk:  disk,
			after: 1 + random.IntN(600),
			lost:  vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 10, 50, 90, 100}[random.IntN(5)], RNG: random},
		}
		before := acked
		disk, acked = cut.run(t, acked)
		opts := small()
		opts.FS = disk
		s := openDir(t, "store", opts)
		storetest.CheckLoad(t, s, acked, true)
		closeStore(t, s)
		if t.Failed() {
			t.Fatalf("after cut %d with %+v, %d batches acknowledged before it and %d with it", n, cut.lost, before, acked)
		}
	}
	if acked == 0 {
		t.Error("nothing was acknowledged in all the cuts")
	}
}

// powerCut counts what changes the disk and keeps a copy of it as it is at one call.
type powerCut struct {
	disk *vfs.MemFS
	lost vfs.CrashCloneCfg

	mu    sync.Mutex // guards what follows
	after int        // calls until the cut
	found *vfs.MemFS // the disk after the cut
	acked uint64
}

// MaybeError implements errorfs.Injector.
func (p *powerCut) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpFileClose {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.after--; p.after == 0 {
		p.found = p.disk.CrashClone(p.lost)
	}
	return nil
}

// String implements errorfs.Injector.
func (*powerCut) String() string { return "power cut" }

// run keeps a store busy until the cut, and returns the disk that the cut leaves and
// the last batch that was acknowledged before. What the store does after the cut, to
// the old disk, is forgotten.
func (p *powerCut) run(t *testing.T, acked uint64) (*vfs.MemFS, uint64) {
	t.Helper()
	p.acked = acked
	opts := small()
	opts.MemtableBytes = 64 << 10 // so that tables are written and merged all the time
	opts.FS = recyclingFS{errorfs.Wrap(p.disk, p), p}
	s, err := embedded.Open("store", opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	load := &storetest.Load{Store: s, Ack: func(batch uint64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.found != nil {
			stop()
			return
		}
		p.acked = batch
	}}
	if err := load.Run(ctx); err != nil {
		t.Errorf("the load: %v", err)
	}
	closeStore(t, s)
	return p.found, p.acked
}
