// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/troupe-dev/troupe/actors/store"
)

var _ store.Compacter = (*Store)(nil)

// forgetting is the state of [Store.Compact].
type forgetting struct {
	one sync.Mutex  // one at a time
	now atomic.Bool // while it runs
}

// memtables is how many tables of recent writes there are at most. The engine keeps
// one more file of its log to use again.
const memtables = 4

// Compact implements [store.Compacter]. Old bytes live on in four places: in files
// of the log that the engine keeps to use again, in tables below the ones that hold
// a deletion, in files of values of which some are still needed, and in files that
// nobody needs any more and that are not removed yet; and, of the keys of rows, in
// the due index. The keys of actors and rows may also stay in the engine's list of
// its files, of which it keeps the last two: until the store has been opened twice.
func (s *Store) Compact(ctx context.Context) error {
	s.forgetting.one.Lock()
	defer s.forgetting.one.Unlock()
	if err := s.failed(); err != nil {
		return err
	}
	s.forgetting.now.Store(true)
	defer s.forgetting.now.Store(false)

	if err := s.clearDue(ctx); err != nil {
		return err
	}
	first, last := []byte{0}, bytes.Repeat([]byte{math.MaxUint8}, 8)
	if err := s.touch(first, last); err != nil {
		return fmt.Errorf("embedded store: mark the tables: %w", err)
	}
	if err := s.db.Compact(ctx, first, last, false); err != nil {
		return fmt.Errorf("embedded store: write the tables anew: %w", err)
	}
	for range memtables + 2 { // each one ends a file of the log and takes the oldest in its place
		if err := s.db.Flush(); err != nil {
			return fmt.Errorf("embedded store: begin a new log: %w", err)
		}
	}
	return s.awaitRemoval(ctx)
}

// touch has the engine write every table between two keys anew when it compacts them, and
// their values: a deletion of range keys, of which there are none, overlaps each.
func (s *Store) touch(first, last []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failed(); err != nil {
		return err
	}
	batch := s.newBatchLocked()
	_ = batch.RangeKeyDelete(first, last, nil) // never fails
	if err := s.apply(batch, pebble.NoSync); err != nil {
		s.fail(err)
		return err
	}
	return batch.Close()
}

// clearDue removes every place of the due index that leads to no row.
func (s *Store) clearDue(ctx context.Context) (err error) {
	iter, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{tagDue}, UpperBound: []byte{tagDue + 1}})
	if err != nil {
		return readError("scan the due index", err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	var stale [][]byte
	for ok := iter.First(); ok && ctx.Err() == nil; ok = iter.Next() {
		due, id, key, parsed := parseDueKey(iter.Key())
		if !parsed {
			return readError("scan the due index", corruptf(iter.Key(), "no place"))
		}
		_, live, err := getDueRow(s.db, appendRowKey(nil, id, store.Kind(iter.Key()[dueOffset-1]), key), due)
		if err != nil {
			continue // a damaged row keeps its place
		}
		if !live {
			stale = append(stale, bytes.Clone(iter.Key()))
		}
		if len(stale) == maxRemovals {
			if err := s.removeStale(stale); err != nil {
				return err
			}
			stale = stale[:0]
		}
	}
	return errors.Join(iter.Error(), ctx.Err(), s.removeStale(stale))
}

// awaitRemoval waits until the engine has removed the files that it needs no more.
func (s *Store) awaitRemoval(ctx context.Context) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		m := s.db.Metrics()
		if uint64(m.Table.ObsoleteCount+m.Table.ZombieCount)+m.BlobFiles.ObsoleteCount+m.BlobFiles.ZombieCount == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("embedded store: files that are needed no more are still there: %w", ctx.Err())
		}
	}
}

// forgetfulFS is a file system in which, during a compaction, no file is used again.
type forgetfulFS struct {
	vfs.FS

	now *atomic.Bool
}

// ReuseForWrite implements [vfs.FS].
func (fs forgetfulFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if !fs.now.Load() {
		return fs.FS.ReuseForWrite(oldname, newname, category) //nolint:wrapcheck // a file system
	}
	if err := fs.Remove(oldname); err != nil {
		return nil, err
	}
	return fs.Create(newname, category) //nolint:wrapcheck // a file system
}

// Unwrap implements [vfs.FS].
func (fs forgetfulFS) Unwrap() vfs.FS { return fs.FS }
