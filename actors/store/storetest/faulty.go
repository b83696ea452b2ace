// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"slices"
	"sync"

	"github.com/troupe-dev/troupe/actors/store"
)

// Faulty is a store that fails when it is told to. It passes everything else on to
// the store inside it. Its methods may be called concurrently, and nothing in it
// depends on real time.
//
//	s := storetest.NewFaulty(memory.New(memory.Options{}))
//	s.FailCommit(errors.New("disk full"))          // the next Commit stores nothing
//	s.FailCommitAfter(store.ErrUnknown)            // the one after it stores all, and says it does not know
//	hold := s.HoldWaits()                          // nothing becomes durable ...
//	<-hold.Reached()                               // ... and somebody waits for it
//	hold.Release()
type Faulty struct {
	store.Store

	mu      sync.Mutex // guards the fields below
	commits []commitFault
	reads   []error
	hold    *Hold
	begun   int
}

type commitFault struct {
	err   error
	after bool
	only  []store.Address
}

var _ store.Store = (*Faulty)(nil)

// NewFaulty returns a store that has no fault yet. Closing it closes inner.
func NewFaulty(inner store.Store) *Faulty { return &Faulty{Store: inner} }

// FailCommit makes one Commit fail before anything of it is stored: the Err of its
// writes is err. With addresses, only the writes of these fail, and their neighbours
// are stored. Faults queue up: the first one is for the next Commit, and so on. A nil
// err lets one Commit through.
func (f *Faulty) FailCommit(err error, only ...store.Address) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commits = append(f.commits, commitFault{err: err, only: only})
}

// FailCommitAfter is like FailCommit, but the writes are stored and durable all the
// same: what a caller sees when the answer of a database is lost. A write that the
// store inside refuses keeps the store's error.
func (f *Faulty) FailCommitAfter(err error, only ...store.Address) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commits = append(f.commits, commitFault{err: err, after: true, only: only})
}

// FailRead makes one call of Load, LoadID, Salvage, Scan, Due or List fail with err. Faults
// queue up as those of FailCommit do.
func (f *Faulty) FailRead(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads = append(f.reads, err)
}

// Commits returns how many Commits have begun.
func (f *Faulty) Commits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun
}

// HoldWaits makes the Wait of every Commit that begins from now on block until the
// hold is released: the batch has its place in the order and can be read, but is not
// durable as far as anybody knows. A second call replaces the hold for later Commits.
func (f *Faulty) HoldWaits() *Hold {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = &Hold{reached: make(chan struct{}), released: make(chan struct{})}
	return f.hold
}

// Hold keeps Waits from returning.
type Hold struct {
	reach, release    sync.Once
	reached, released chan struct{}
}

// Reached is closed when the first Wait blocks.
func (h *Hold) Reached() <-chan struct{} { return h.reached }

// Release lets go of all Waits, also of Commits that begin later.
func (h *Hold) Release() { h.release.Do(func() { close(h.released) }) }

func (h *Hold) wait() {
	h.reach.Do(func() { close(h.reached) })
	<-h.released
}

// Commit implements [store.Store].
func (f *Faulty) Commit(ctx context.Context, batch []*store.Write) store.Pending {
	// The lock is held so that faults meet Commits in the order in which the
	// store inside sees them.
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun++
	p := &faultyPending{hold: f.hold}
	var fault commitFault
	if len(f.commits) > 0 {
		fault, f.commits = f.commits[0], f.commits[1:]
	}
	through := make([]*store.Write, 0, len(batch))
	for _, w := range batch {
		hit := fault.err != nil && fault.hits(w)
		if hit {
			p.failed = append(p.failed, w)
		}
		if !hit || fault.after {
			through = append(through, w)
		}
	}
	p.fault = fault
	if len(through) > 0 {
		p.inner = f.Store.Commit(ctx, through)
	}
	return p
}

func (c commitFault) hits(w *store.Write) bool {
	return len(c.only) == 0 || slices.Contains(c.only, w.Record.Address)
}

type faultyPending struct {
	inner  store.Pending // nil if nothing went through
	failed []*store.Write
	fault  commitFault
	hold   *Hold
}

// Wait implements [store.Pending].
func (p *faultyPending) Wait() {
	if p.hold != nil {
		p.hold.wait()
	}
	if p.inner != nil {
		p.inner.Wait()
	}
	for _, w := range p.failed {
		if !p.fault.after || w.Err == nil {
			w.Err = p.fault.err
		}
	}
}

// readFault takes the next fault of a read.
func (f *Faulty) readFault() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.reads) == 0 {
		return nil
	}
	err := f.reads[0]
	f.reads = f.reads[1:]
	return err
}
