// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"sync/atomic"
	"time"
)

// rights is what a node may do at this instant, for many readers at once. One
// goroutine writes it.
type rights struct {
	shards []atomic.Uint64 // a bit each
	keep   int64           // ns
	// The lease lasts while the monotonic clock is before monoEnd and the wall clock
	// less than keep after wallFrom. Each pair of values that a reader may see is a
	// lease that the authority has granted.
	monoEnd  atomic.Int64
	wallFrom atomic.Int64
}

func newRights(cfg Config) rights {
	return rights{shards: make([]atomic.Uint64, (int(cfg.Shards)+63)/64), keep: int64(cfg.keep())}
}

func (r *rights) has(shard uint16) bool {
	word := int(shard >> 6)
	return word < len(r.shards) && r.shards[word].Load()&(1<<(shard&63)) != 0
}

func (r *rights) last(now Instant) bool {
	return int64(now.Mono) < r.monoEnd.Load() && int64(now.Wall)-r.wallFrom.Load() < r.keep
}

func (r *rights) lease(since Instant, ok bool) {
	if !ok {
		r.monoEnd.Store(int64(-time.Hour))
		return
	}
	r.wallFrom.Store(int64(since.Wall))
	r.monoEnd.Store(int64(since.Mono) + r.keep)
}

func (r *rights) gain(shards []uint16) {
	for _, s := range shards {
		r.shards[s>>6].Or(1 << (s & 63))
	}
}

func (r *rights) drop(shards []uint16) {
	for _, s := range shards {
		r.shards[s>>6].And(^uint64(1 << (s & 63)))
	}
}
