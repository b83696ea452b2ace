// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actorstest

import (
	"context"
	"errors"
	"sync"

	"github.com/troupe-dev/troupe/actors/store"
)

// errCrashed is what a server that has crashed gets from its store.
var errCrashed = errors.New("actorstest: the server has crashed")

// lifeline is what one server sees of the store: everything, until the server
// crashes, and then nothing, while the server that follows goes on with it.
type lifeline struct {
	store.Store

	crash func() // ends the server as kill -9 would; it may be called more than once

	mu     sync.Mutex // held while a commit begins, so that none begins after a crash
	dead   bool       // guarded by mu
	before bool       // guarded by mu; crash instead of the next commit
	after  bool       // guarded by mu; crash once the next commit is durable
	read   error      // guarded by mu; unless nil, how the next Load fails
}

var _ store.Store = (*lifeline)(nil)

// arm changes what becomes of the next use of the store.
func (l *lifeline) arm(fault func(*lifeline)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fault(l)
}

// end keeps the server from the store for good.
func (l *lifeline) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *lifeline) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errCrashed
	}
	return nil
}

// readFault takes the fault of the next Load.
func (l *lifeline) readFault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.read
	l.read = nil
	return err
}

// Commit implements [store.Store].
func (l *lifeline) Commit(ctx context.Context, batch []*store.Write) store.Pending {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.dead:
		return &lost{batch: batch}
	case l.before:
		l.dead = true
		return &lost{batch: batch, crash: l.crash}
	case l.after:
		l.dead = true
		return &lost{batch: batch, crash: l.crash, pending: l.Store.Commit(ctx, batch)}
	}
	return l.Store.Commit(ctx, batch)
}

// lost is a commit whose answer nobody gets.
type lost struct {
	batch   []*store.Write
	pending store.Pending // nil if nothing is stored
	crash   func()        // nil if the server has crashed already
}

// Wait implements [store.Pending].
func (p *lost) Wait() {
	if p.pending != nil {
		p.pending.Wait()
	}
	if p.crash != nil {
		p.crash()
	}
	for _, w := range p.batch {
		w.Err = store.ErrUnknown
	}
}

// Load implements [store.Store].
func (l *lifeline) Load(ctx context.Context, addr store.Address) (store.Record, error) {
	if err := errors.Join(l.check(), l.readFault()); err != nil {
		return store.Record{}, err
	}
	return l.Store.Load(ctx, addr)
}

// Salvage implements [store.Store].
func (l *lifeline) Salvage(ctx context.Context, addr store.Address, id store.ID) (store.Record, error) {
	if err := l.check(); err != nil {
		return store.Record{}, err
	}
	return l.Store.Salvage(ctx, addr, id)
}

// LoadID implements [store.Store].
func (l *lifeline) LoadID(ctx context.Context, id store.ID) (store.Record, error) {
	if err := l.check(); err != nil {
		return store.Record{}, err
	}
	return l.Store.LoadID(ctx, id)
}
