// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

const (
	// partingGrace is how long a shard that is handed over waits for its streams to
	// say goodbye, and for what runs beside its actors to end. Its calls wait too.
	partingGrace = 250 * time.Millisecond
	// partingPoll is how often it looks whether they have.
	partingPoll = time.Millisecond
)

var _ placement.Tenant = (*Host)(nil)

// Gained implements [placement.Tenant]: the host runs the actors of the shards, and
// what is due in them.
func (h *Host) Gained(shards []uint16) {
	gained := setOf(shards)
	kept := h.holding.leaving(shards)
	h.crashes.forgetShards(gained, h.shards) // others may have seen to them since
	h.holding.set(gained, shardOpen)
	if len(kept) > 0 {
		h.table.inShards(kept, (*instance).renew)
	}
	for _, d := range h.dispatchers {
		d.resurvey()
	}
}

// Release implements [placement.Tenant]. Calls that wait are refused and go to the
// next holder; turns that run end by themselves, with the calls that they make of
// actors which are handed over too, their commits are settled, streams are told to
// connect again, what runs beside the actors is cancelled, and the actors sleep. The
// error says that ctx has ended first: what has not ended by then may still take
// effect, and calls are refused until the shards are gained again, or lost.
func (h *Host) Release(ctx context.Context, shards []uint16) error {
	leaving := setOf(shards)
	h.holding.set(leaving, shardLeaving)
	for _, d := range h.dispatchers {
		d.leave(leaving)
	}
	var actors []*instance
	h.table.inShards(leaving, func(i *instance) {
		i.part()
		actors = append(actors, i)
	})
	h.committer.flushBeside()
	if err := h.partFrom(ctx, leaving, actors); err != nil {
		return err
	}
	h.table.inShards(leaving, (*instance).abandon) // those of calls that came too late
	return nil
}

// partFrom waits until the actors of shards have ended what they do, and puts them to
// sleep. What they have begun may give others turns, or wake them again: the shards are
// closed once that has ended too.
func (h *Host) partFrom(ctx context.Context, leaving shardSet, actors []*instance) error {
	grace := time.Now().Add(partingGrace)
	ticker := time.NewTicker(partingPoll)
	defer ticker.Stop()
	for {
		busy, polite := 0, time.Now().Before(grace)
		for _, d := range h.dispatchers {
			busy += d.settling(leaving)
		}
		actors = slices.DeleteFunc(actors, func(i *instance) bool { return i.parted(polite) })
		if busy += len(actors); busy == 0 {
			if actors = h.holding.close(leaving); len(actors) == 0 {
				return nil
			}
			busy = len(actors)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("actors: %d actors were still busy when their shards were handed over: %w", busy, ctx.Err())
		case <-ticker.C:
		}
	}
}

// Lost implements [placement.Tenant]: the actors of the shards are forgotten. Their
// calls are refused, unless they are durable already.
func (h *Host) Lost(shards []uint16) {
	lost := setOf(shards)
	h.holding.set(lost, shardClosed)
	for _, d := range h.dispatchers {
		d.leave(lost)
	}
	h.table.inShards(lost, (*instance).abandon)
}

// Load implements [placement.Tenant].
func (h *Host) Load() placement.Load {
	return placement.Load{Actors: h.table.inMemory(), Calls: h.inFlight.Load()}
}

// moved is why streams end when their actor's shard goes to another node.
var moved = closing{reason: troupev1.CloseReason_CLOSE_REASON_MOVED, message: "another node runs the actor now"}

// part begins to end what an actor does here.
func (i *instance) part() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for t := i.queue.head; t != nil; {
		next := t.next
		if !i.host.begun(t.call) {
			i.turnAwayLocked(t)
		}
		t = next
	}
	i.dispatchLocked()
	i.closeLocked(moved)
	if i.body != nil && i.body.beside != nil {
		i.body.beside.stop(errNotOwner)
	}
}

// renew is renewLocked for a caller that has not locked the instance.
func (i *instance) renew() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.renewLocked()
}

// renewLocked has the actor leave memory, in a turn, if its own context has ended in a
// handover that did not come about: what it runs beside its turns starts anew when it
// wakes.
func (i *instance) renewLocked() {
	if i.body == nil || !i.body.handedOverLocked() || !i.host.admits(i.shard) || i.host.closing.Load() {
		return
	}
	t := i.sleepTurn()
	t.deadline = t.queuedAt.AddDate(1, 0, 0) // none: the turn that kept the shard may still run
	i.queue.push(t)
	i.dispatchLocked()
}

// turnAwayLocked refuses a turn that waits.
func (i *instance) turnAwayLocked(t *turn) {
	i.queue.remove(t)
	if t.status.CompareAndSwap(turnQueued, turnSealed) {
		i.disownLocked(t)
		t.finish(errNotOwner)
	}
}

// parted reports whether an actor has ended what it does here, and has it sleep once
// it has. Polite is to wait for its streams and for what runs beside it.
func (i *instance) parted(polite bool) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.gone:
		return true
	case i.queue.len > 0, i.writing, i.readers > 0, i.undurable > 0, i.entry != nil:
		return false
	case polite && (len(i.conns) > 0 || i.body != nil && i.body.keptLocked(0)):
		return false
	case i.body != nil:
		return i.sleepLocked() == nil
	}
	return true
}

// abandon takes an actor out of memory whatever it does. Its turns can no longer
// change anything, and those that wait are refused.
func (i *instance) abandon() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.gone {
		return
	}
	i.discardLocked()
	i.gone = true
	i.host.table.remove(i)
	for i.queue.head != nil {
		i.turnAwayLocked(i.queue.head)
	}
	i.closeLocked(moved)
	i.conns = nil
}

// shardSet is some shards.
type shardSet map[uint16]struct{}

func setOf(shards []uint16) shardSet {
	set := make(shardSet, len(shards))
	for _, shard := range shards {
		set[shard] = struct{}{}
	}
	return set
}

func (s shardSet) has(shard uint16) bool {
	_, ok := s[shard]
	return ok
}

// inShards calls f with every instance of some shards, as [table.all] does.
func (t *table) inShards(shards shardSet, f func(*instance)) {
	t.all(func(i *instance) {
		if shards.has(i.shard) {
			f(i)
		}
	})
}
