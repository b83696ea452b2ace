// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

// holding is what a host knows of the shards of its node. A host without a placement
// has none, and runs every actor of its store.
//
// A shard is run while it is open here and the placement says that the node holds
// it: the lease may end at any time, and the host hears of it later.
type holding struct {
	placement placement.Placement
	shards    []atomic.Uint32 // what the host does with each

	mu   sync.Mutex
	late map[*instance]struct{} // guarded by mu; those that a shard which leaves has given a turn
}

// What a host does with a shard.
const (
	shardClosed  uint32 = iota // nothing: it was never gained, or is gone
	shardOpen                  // runs its actors
	shardLeaving               // ends what has begun
)

func newHolding(cfg Config) *holding {
	if cfg.Placement == nil {
		return nil
	}
	return &holding{
		placement: cfg.Placement,
		shards:    make([]atomic.Uint32, cfg.Store.Info().Shards),
		late:      make(map[*instance]struct{}),
	}
}

// state returns what the host does with a shard. A number that is no shard, as an id
// that somebody made up may have, is closed.
func (o *holding) state(shard uint16) uint32 {
	if int(shard) >= len(o.shards) || !o.placement.Holds(shard) {
		return shardClosed
	}
	return o.shards[shard].Load()
}

func (o *holding) set(shards shardSet, state uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.takeLateLocked(shards)
	o.setLocked(shards, state)
}

// leaving returns those of some shards that leave.
func (o *holding) leaving(shards []uint16) shardSet {
	return setOf(slices.DeleteFunc(slices.Clone(shards), func(shard uint16) bool { return o.shards[shard].Load() != shardLeaving }))
}

func (o *holding) setLocked(shards shardSet, state uint32) {
	for shard := range shards {
		o.shards[shard].Store(state)
	}
}

func (o *holding) takeLateLocked(shards shardSet) []*instance {
	late := slices.DeleteFunc(slices.Collect(maps.Keys(o.late)), func(i *instance) bool { return !shards.has(i.shard) })
	for _, i := range late {
		delete(o.late, i)
	}
	return late
}

// enlist notes that an actor gets a turn while its shard leaves, which [holding.close]
// then waits for. False says that the shard is closed. The instance is locked.
func (o *holding) enlist(i *instance) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.shards[i.shard].Load() {
	case shardClosed:
		return false
	case shardLeaving:
		o.late[i] = struct{}{}
	}
	return true
}

// close closes shards that leave, unless actors of them got turns since they began to,
// or since it was called before. It returns those.
func (o *holding) close(shards shardSet) (late []*instance) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if late = o.takeLateLocked(shards); len(late) == 0 {
		o.setLocked(shards, shardClosed)
	}
	return late
}

// admits reports whether the host takes new work of a shard.
func (h *Host) admits(shard uint16) bool {
	return h.holding == nil || h.holding.state(shard) == shardOpen
}

// Admits reports whether the host takes calls for a target. Without a placement it
// takes all. What it says may change at once: a call that comes too late is refused
// with the reason not_owner, unless the host can pass it on.
func (h *Host) Admits(target *Target) bool {
	return h.holding == nil || h.holding.state(h.ShardOf(target)) == shardOpen
}

// ShardOf returns the shard that a target's actor belongs to.
func (h *Host) ShardOf(target *Target) uint16 {
	if !target.ID.IsZero() {
		return target.ID.Shard()
	}
	return store.ShardOf(target.Address, h.shards)
}

// runs reports whether the node holds an actor's shard at this instant: whether what
// a turn has read may be told.
func (i *instance) runs() bool {
	return seedbug.On(9) || i.host.holding == nil || i.host.holding.state(i.shard) != shardClosed
}

// takes reports whether the host takes a call: of an actor that it runs, or of one
// that it hands over, if the call is part of what the handover waits for.
func (h *Host) takes(call *Call) bool {
	if h.holding == nil {
		return true
	}
	switch h.holding.state(h.ShardOf(&call.Target)) {
	case shardOpen:
		return true
	case shardLeaving:
		return h.begun(call)
	}
	return false
}

// begun reports whether a call, which is nil for a turn of the runtime, is part of
// what has begun here and is to end before its shard is handed over. That is what the
// runtime does, such as a run of a schedule, and a call that the turn of an actor waits
// for which is handed over too, be it through actors of other nodes: neither shard
// could go while the call waited for the other one to be gone.
func (h *Host) begun(call *Call) bool {
	return call == nil || call.ours || slices.ContainsFunc(call.Chain, func(waiting store.Address) bool {
		return h.holding.state(store.ShardOf(waiting, h.shards)) == shardLeaving
	})
}

// refusesLocked reports whether a turn comes when the actor's shard is not the
// host's, or not any more. While the shard is handed over, what has begun may still end.
func (i *instance) refusesLocked(t *turn) bool {
	o := i.host.holding
	if o == nil {
		return false
	}
	switch o.state(i.shard) {
	case shardOpen:
		return false
	case shardLeaving:
		return !i.host.begun(t.call) || !o.enlist(i)
	}
	return true
}

// reasonNotOwner is the reason of a call that came to a node which does not run its
// actor.
const reasonNotOwner = "not_owner"

// errNotOwner refuses a call of an actor that another node runs, or none yet.
var errNotOwner error = &refusalError{retryable(refusal(connect.CodeUnavailable, "not_owner", notExecuted,
	"the actor is moving to another node; try again"), 250*time.Millisecond)}
