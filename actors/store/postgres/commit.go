// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"fmt"
	"sync"

	"github.com/troupe-dev/troupe/actors/store"
)

const (
	// maxPlace bounds namespace and type of an actor together, in bytes: an index
	// takes no more.
	maxPlace = 1024

	// maxKey bounds the key of an actor, in bytes.
	maxKey = 16 << 10

	// maxRowKey bounds the key of a row, in bytes: see store.Row.
	maxRowKey = 1280
)

// pending is a batch on its way: a part of it is in each lane that it touches.
type pending struct{ parts sync.WaitGroup }

// Wait implements [store.Pending].
func (p *pending) Wait() { p.parts.Wait() }

// item is a write on its way through a lane.
type item struct {
	write *store.Write
	node  *node
	batch *pending
}

// done ends the write's way. Wait may return from here on, and the caller use the write
// for something else.
func (i *item) done(err error) {
	i.write.Err = err
	i.batch.parts.Done()
}

// Commit implements [store.Store]. Writes of different lanes become durable in any
// order, and a crash may keep the one and lose the other.
func (s *Store) Commit(_ context.Context, writes []*store.Write) store.Pending {
	p := new(pending)
	n := s.node.Load()
	if s.closed.Load() {
		for _, w := range writes {
			w.Err = errClosed
		}
		return p
	}
	items := make([][]item, len(s.lanes))
	for _, w := range writes {
		if w.Err = valid(w); w.Err != nil {
			continue
		}
		p.parts.Add(1)
		lane := s.laneOf(store.ShardOf(w.Record.Address, s.meta.shards))
		items[lane] = append(items[lane], item{write: w, node: n, batch: p})
	}
	for lane, some := range items {
		if len(some) > 0 {
			s.lanes[lane].add(some)
		}
	}
	return p
}

// laneOf returns the number of the lane of a shard. All of an actor goes one way, so
// that its writes keep their order.
func (s *Store) laneOf(shard uint16) int { return int(shard) % len(s.lanes) }

// valid finds what the database would refuse together with its neighbours, and what
// would damage the layout.
func valid(w *store.Write) error {
	r := &w.Record
	if w.Op > store.OpDestroy {
		return fmt.Errorf("postgres store: write with unknown op %d", w.Op)
	}
	if len(r.Namespace)+len(r.Type) > maxPlace {
		return fmt.Errorf("postgres store: namespace and type have %d bytes, the limit is %d", len(r.Namespace)+len(r.Type), maxPlace)
	}
	if len(r.Key) > maxKey {
		return fmt.Errorf("postgres store: an actor's key has %d bytes, the limit is %d", len(r.Key), maxKey)
	}
	size := len(r.State)
	for i := range w.Rows {
		row := &w.Rows[i]
		if row.Kind == 0 || row.Kind == 0xff {
			return fmt.Errorf("postgres store: row of unknown kind %d", row.Kind)
		}
		if row.Op > store.RowDeleteRange {
			return fmt.Errorf("postgres store: row write with unknown op %d", row.Op)
		}
		if len(row.Key) > maxRowKey {
			return fmt.Errorf("postgres store: a row's key has %d bytes, the limit is %d", len(row.Key), maxRowKey)
		}
		size += len(row.Key) + len(row.Value)
	}
	if size > maxMessage {
		return fmt.Errorf("postgres store: a write of %d bytes is more than the database takes at once, which is %d", size, maxMessage)
	}
	return nil
}
