// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

// small are options that make the engine flush and compact within a test.
func small() embedded.Options {
	return embedded.Options{CacheBytes: 1 << 20, MemtableBytes: 256 << 10}
}

func openDir(t testing.TB, dir string, opts embedded.Options) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(dir, opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func closeStore(t testing.TB, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// TestStore runs on the real file system.
func TestStore(t *testing.T) {
	t.Parallel()
	storetest.RunTarget(t, storetest.Target{
		WholeBatches: true,
		Open: func(t testing.TB) store.Store {
			t.Helper()
			return openDir(t, t.TempDir(), small())
		},
		Reopen: func(t testing.TB, s store.Store) store.Store {
			t.Helper()
			closeStore(t, s)
			return openDir(t, s.(*embedded.Store).Dir(), small())
		},
		Damage: func(t testing.TB, s store.Store, addr store.Address) store.Store {
			t.Helper()
			dir := s.(*embedded.Store).Dir()
			closeStore(t, s)
			damage(t, vfs.Default, dir, addr)
			return openDir(t, dir, small())
		},
	})
}

// TestPowerCut runs in memory, where a crash keeps only what was synced and half
// of the rest.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	disks := &disks{of: make(map[store.Store]*vfs.MemFS)}
	storetest.RunTarget(t, storetest.Target{
		WholeBatches: true,
		Open: func(t testing.TB) store.Store {
			t.Helper()
			return disks.open(t, vfs.NewCrashableMem())
		},
		Reopen: func(t testing.TB, s store.Store) store.Store {
			t.Helper()
			closeStore(t, s)
			return disks.open(t, disks.get(s))
		},
		Damage: func(t testing.TB, s store.Store, addr store.Address) store.Store {
			t.Helper()
			disk := disks.get(s)
			closeStore(t, s)
			damage(t, disk, "data/store", addr)
			return disks.open(t, disk)
		},
		Crash: func(t testing.TB, s store.Store) store.Store {
			t.Helper()
			return disks.open(t, disks.crash(s))
		},
	})
}

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(t testing.TB) store.Store {
		t.Helper()
		return openDir(t, t.TempDir(), embedded.Options{})
	})
}

// disks remembers which disk a store is on.
type disks struct {
	mu sync.Mutex // guards the map
	of map[store.Store]*vfs.MemFS
}

func (d *disks) open(t testing.TB, fs *vfs.MemFS) store.Store {
	t.Helper()
	opts := small()
	opts.FS = fs
	s := openDir(t, "data/store", opts)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of[s] = fs
	return s
}

func (d *disks) get(s store.Store) *vfs.MemFS {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.of[s]
}
