// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// quietPause is how long the store writes nothing before it writes a mark that calls
// what it has written synced: one more sync for each burst. Damage to the last batch
// before a crash is then no torn end, unless the crash comes within the pause.
const quietPause = 100 * time.Millisecond

// quiet writes a mark when the store has come to rest. Safe for concurrent use.
type quiet struct {
	mu     sync.Mutex // guards what follows
	timer  *time.Timer
	armed  bool
	batch  uint64 // the newest number when the timer was armed
	marked uint64 // the number of the newest mark
	closed bool
	marks  sync.WaitGroup // that are being written
}

// watch sees to it that a mark follows the batch with the number, which is durable.
func (s *Store) watch(number uint64) {
	q := &s.quiet
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.armed || q.closed || number <= q.marked {
		return
	}
	q.armed, q.batch = true, number
	if q.timer == nil {
		q.timer = time.AfterFunc(quietPause, s.mark)
	} else {
		q.timer.Reset(quietPause)
	}
}

// mark writes a mark if nothing was written since the timer was armed.
func (s *Store) mark() {
	q := &s.quiet
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return
	}
	if newest := s.synced.Load(); newest != q.batch {
		q.batch = newest
		q.timer.Reset(quietPause)
		q.mu.Unlock()
		return
	}
	q.armed = false
	q.marks.Add(1)
	q.mu.Unlock()
	defer q.marks.Done()
	number, err := s.writeMark()
	if err != nil {
		s.fail(err)
		return
	}
	q.mu.Lock()
	q.marked = max(q.marked, number)
	q.mu.Unlock()
}

// writeMark makes a batch durable that holds a mark and nothing else, and returns its
// number; 0 if the store has failed.
func (s *Store) writeMark() (uint64, error) {
	s.mu.Lock()
	if s.failed() != nil {
		s.mu.Unlock()
		return 0, nil //nolint:nilerr // it is said where it happened
	}
	batch := s.newBatchLocked()
	number := s.logged
	err := s.apply(batch, pebble.Sync)
	s.mu.Unlock()
	if err == nil {
		err = batch.SyncWait()
	}
	if err != nil {
		return 0, err
	}
	s.syncedTo(number)
	_ = batch.Close() // fails only if called twice
	return number, nil
}

// end stops the timer, and waits for a mark that is being written.
func (q *quiet) end() {
	q.mu.Lock()
	q.closed = true
	if q.timer != nil {
		q.timer.Stop()
	}
	q.mu.Unlock()
	q.marks.Wait()
}
