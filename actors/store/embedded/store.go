// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package embedded keeps actors in a directory of this machine, in a Pebble
// database. It is the store of a single server: one process has it open.
//
// # Reading the source
//
// store.go opens and closes; commit.go is the write path, with revision.go beside
// it; load.go, scan.go, list.go and due.go read; key.go and value.go are the layout
// on disk, meta.go describes it. What a disk may do to it: space.go when it is full,
// tail.go and value.go when it gives back something else than it was given.
package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/troupe-dev/troupe/actors/store"
)

// Store is an open store. Its methods may be called concurrently.
type Store struct {
	opts Options
	dir  string
	db   *pebble.DB
	lock *pebble.Lock
	meta meta

	// failure is set once nothing can be made durable any more.
	failure atomic.Pointer[error]

	space     space
	marks     marks
	revisions revisions
	keys      sync.Pool // of *[]byte, for the keys of reads

	forgetting forgetting
	quiet      quiet

	// mu gives batches their order. It guards the assembly and application of
	// a batch, not the wait for the disk.
	mu sync.Mutex
	// scratch is a key being made, guarded by mu.
	scratch []byte
	// logged is the number of the newest batch, guarded by mu; synced that of
	// the newest one known to be durable: see newBatchLocked.
	logged uint64
	synced atomic.Uint64
	// dues are the places that the batch being made adds to the due index,
	// guarded by mu.
	dues []duePlace
}

var _ store.Store = (*Store)(nil)

// Open opens the store in dir and creates it if it is not there. It fails with
// [store.ErrLocked], [store.ErrFormat] or [store.ErrCorrupt], among others.
func Open(dir string, options Options) (*Store, error) {
	opts := options.withDefaults()
	if err := makeDir(opts.FS, dir); err != nil {
		return nil, fmt.Errorf("embedded store: create %s: %w", dir, err)
	}
	dir, err := canonical(opts.FS, dir)
	if err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	lock, err := lockDir(opts.FS, dir)
	if err != nil {
		return nil, err
	}
	s := &Store{opts: opts, dir: dir, lock: lock}
	s.revisions.init(maxRevisions)
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the store in %s: %w", dir, err), lock.Close())
	}
	return s, nil
}

func (s *Store) open() error {
	desc, err := pebble.Peek(s.dir, s.opts.FS)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return readError("look for a store", err)
	}
	if err == nil && desc.Exists && desc.FormatMajorVersion > engineVersion {
		return fmt.Errorf("%w: a newer version of Troupe wrote it; run that version", store.ErrFormat)
	}
	if err == nil && desc.Exists {
		if err := checkLog(s.opts.FS, s.dir); err != nil {
			return readError("look at the log", err)
		}
	}
	if s.db, err = pebble.Open(s.dir, s.engineOptions()); err != nil {
		return readError("open the database", err)
	}
	s.meta, err = openMeta(s.db, s.opts)
	if err == nil {
		err = s.meta.fits(s.opts.Shards)
	}
	if err == nil {
		err = s.renew()
	}
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

func (s *Store) engineOptions() *pebble.Options {
	log := engineLog{logger: s.opts.Logger, fatal: s.fail}
	opts := &pebble.Options{
		FS:                          forgetfulFS{s.opts.FS, &s.forgetting.now},
		Lock:                        s.lock,
		Logger:                      log,
		FormatMajorVersion:          engineVersion,
		CacheSize:                   s.opts.CacheBytes,
		MemTableSize:                uint64(max(s.opts.MemtableBytes, 0)),
		MemTableStopWritesThreshold: memtables,
		// The engine reserves the whole of it on disk.
		MaxManifestFileSize: 4 << 20,
		EventListener: &pebble.EventListener{
			// By default a damaged table ends the process. Here it costs the
			// actors whose data is in the damaged block, and them only.
			DataCorruption:  func(info pebble.DataCorruptionInfo) { log.Errorf("damaged data on disk: %s", info) },
			BackgroundError: func(err error) { log.Errorf("background work of the storage engine failed: %v", err) },
			DiskSlow:        func(info pebble.DiskSlowInfo) { log.Errorf("slow disk: %s", info) },
		},
	}
	opts.WithFSDefaults() // which find out that an operation takes more than 5 s
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	if !s.opts.InlineValues {
		policy := pebble.ValueSeparationPolicy{
			Enabled:               true,
			MinimumSize:           1 << 10,
			MaxBlobReferenceDepth: 10,
			RewriteMinimumAge:     time.Minute,
			TargetGarbageRatio:    0.3,
		}
		opts.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
			if s.forgetting.now.Load() {
				forgetting := policy
				forgetting.MaxBlobReferenceDepth = 0 // every value is written anew
				return forgetting
			}
			return policy
		}
	}
	return opts
}

// Dir is the directory that the store is in.
func (s *Store) Dir() string { return s.dir }

// Info implements [store.Store].
func (s *Store) Info() store.Info {
	return store.Info{Format: int(s.meta.layout), Generation: s.meta.generation, Shards: s.meta.shards}
}

// Close implements [store.Store]. Batches that nobody has waited for are made
// durable too.
func (s *Store) Close() error {
	s.quiet.end()
	if err := s.failed(); err != nil {
		return err // the engine is not to be touched again; the process is ending
	}
	if err := s.seal(); err != nil {
		s.fail(err)
		return err
	}
	return errors.Join(s.db.Close(), s.lock.Close())
}

// failed returns why the store takes no more writes, or nil.
func (s *Store) failed() error {
	if err := s.failure.Load(); err != nil {
		return fmt.Errorf("embedded store: stopped after a failure of the disk: %w", *err)
	}
	return nil
}

// fail stops the store for good. A sync that failed is never tried again: the
// system may have dropped the data and would report success.
func (s *Store) fail(err error) {
	if !s.failure.CompareAndSwap(nil, &err) {
		return
	}
	s.opts.Logger.Error("the store cannot make anything durable and stops", "dir", s.dir, "error", err)
	if s.opts.Fatal != nil {
		s.opts.Fatal(err)
		return
	}
	exit()
}

func exit() { os.Exit(1) }
