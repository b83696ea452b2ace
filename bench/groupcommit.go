// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/troupe-dev/troupe/actors/store"
)

// batchesInFlight is how many batches may be on their way to the disk, as in the
// runtime.
const batchesInFlight = 2

// groupCommit commits what writers change, all that has gathered at once: while
// one batch syncs, the next one gathers.
type groupCommit struct {
	store store.Store
	kick  chan struct{}
	done  chan struct{}

	mu        sync.Mutex
	gathering *rawBatch // guarded by mu
}

type rawBatch struct {
	writes  []*store.Write
	pending store.Pending
	settled chan struct{}
}

func newRawBatch() *rawBatch { return &rawBatch{settled: make(chan struct{})} }

func newGroupCommit(s store.Store) *groupCommit {
	g := &groupCommit{store: s, kick: make(chan struct{}, 1), done: make(chan struct{}), gathering: newRawBatch()}
	go g.run()
	return g
}

// close waits until all is settled.
func (g *groupCommit) close() {
	close(g.kick)
	<-g.done
}

func (g *groupCommit) run() {
	defer close(g.done)
	flights := make(chan *rawBatch, batchesInFlight-1)
	released := make(chan struct{})
	go func() {
		defer close(released)
		for b := range flights {
			b.pending.Wait()
			close(b.settled)
		}
	}()
	for range g.kick {
		g.mu.Lock()
		b := g.gathering
		g.gathering = newRawBatch()
		g.mu.Unlock()
		if len(b.writes) > 0 {
			b.pending = g.store.Commit(context.Background(), b.writes)
			flights <- b
		}
	}
	close(flights)
	<-released
}

// update makes one more turn of an actor durable.
func (g *groupCommit) update(a *rawActor) error { return g.add(a, store.OpUpdate) }

// add puts a turn into the batch that gathers and waits until it is durable.
func (g *groupCommit) add(a *rawActor, op store.Op) error {
	g.mu.Lock()
	if a.batch != g.gathering {
		a.batch = g.gathering
		a.write = &store.Write{Op: op, Expect: a.record.Revision}
		a.batch.writes = append(a.batch.writes, a.write)
	}
	a.record.Revision++
	a.record.State = counterState(a.record.Revision)
	a.write.Record = a.record
	batch, write := a.batch, a.write
	first := len(batch.writes) == 1
	g.mu.Unlock()
	if first {
		select {
		case g.kick <- struct{}{}:
		default:
		}
	}
	<-batch.settled
	return write.Err
}

// counterState is the encoded state of a counter.
func counterState(count uint64) []byte {
	return binary.AppendUvarint([]byte{1 << 3}, count)
}
