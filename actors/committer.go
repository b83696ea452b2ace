// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// maxGather is how long changes of a busy actor may gather before its worker sees
// to their commit and leaves the actor's next turn to another one.
const maxGather = 500 * time.Microsecond

// committer groups what turns change into batches, without a timer: while one batch
// is on its way to the disk, the next one gathers. It is the only path by which
// replies and events of turns leave: see [instance.settled].
//
// It has no goroutine of its own. Whoever finds changes after a turn and nobody
// committing becomes the leader: it commits what has gathered, again and again,
// until nothing more gathers. A lone caller so waits for no handover, and batches
// settle in the order in which they began because one goroutine does both. (See
// DeWitt et al., Implementation Techniques for Main Memory Database Systems, 1984,
// for the group commit; Hendler et al., Flat Combining, 2010, for the role.)
type committer struct {
	store store.Store
	pace  *pace // learns how long commits take

	mu        sync.Mutex
	news      *sync.Cond // signaled when leading ends and when a batch has settled
	leading   bool       // guarded by mu; a worker commits
	gathering *batch     // guarded by mu
	begun     uint64     // guarded by mu; batches
	done      uint64     // guarded by mu; those of them that have settled
	failures  uint64     // guarded by mu; those of them that have failed, in part or whole
}

// batch is one group commit.
type batch struct {
	entries []*entry
	since   time.Time // when the first entry came
	pending store.Pending
	begun   time.Time
}

// entry is one actor's part of a batch: the changes of one or more of its turns,
// and what waits for them.
type entry struct {
	inst  *instance
	batch *batch
	write store.Write
	skip  bool // created and destroyed in one batch
	turns int  // how many turns' changes it holds

	generation uint32 // the instance's, of those turns

	// Guarded by the instance's mu.
	waiting    []*turn
	deliveries []delivery
	works      []*work
}

func newCommitter(s store.Store, p *pace) *committer {
	c := &committer{store: s, pace: p, gathering: new(batch)}
	c.news = sync.NewCond(&c.mu)
	return c
}

// flush commits and settles what has gathered, and what gathers meanwhile, unless
// somebody does so already.
func (c *committer) flush() { c.follow(c.lead()) }

// flushBeside is flush for a goroutine that must not wait for the disk.
func (c *committer) flushBeside() {
	c.mu.Lock()
	needed := !c.leading && len(c.gathering.entries) > 0
	c.mu.Unlock()
	if needed {
		go c.flush() // drain waits for it
	}
}

func (c *committer) follow(b *batch) {
	for b != nil {
		b = c.settle(b)
	}
}

// settle waits for a batch, answers those who wait for it, and returns the next one,
// begun; nil once the caller leads no more.
func (c *committer) settle(b *batch) *batch {
	b.pending.Wait()
	c.pace.committed(time.Since(b.begun))
	next := c.take() // the disk works on it while the answers go out
	failed := false
	for _, e := range b.entries {
		failed = failed || e.write.Err != nil && !errors.Is(e.write.Err, store.ErrFull) // which nobody could read
		e.inst.settled(e)
	}
	c.count(failed)
	if next == nil {
		c.resign()
		next = c.lead() // something may have gathered after take
	}
	return next
}

// lead makes the caller the leader and begins the first commit, if there is
// something to commit and no leader.
func (c *committer) lead() *batch {
	c.mu.Lock()
	if c.leading || len(c.gathering.entries) == 0 {
		c.mu.Unlock()
		return nil
	}
	c.leading = true
	c.mu.Unlock()
	return c.take()
}

func (c *committer) resign() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leading = false
	c.news.Broadcast()
}

// take begins the commit of what has gathered; nil if nothing has.
func (c *committer) take() *batch {
	c.mu.Lock()
	b := c.gathering
	if len(b.entries) == 0 {
		c.mu.Unlock()
		return nil
	}
	c.gathering = &batch{entries: make([]*entry, 0, len(b.entries)+8)}
	c.begun++
	c.mu.Unlock()
	writes := make([]*store.Write, 0, len(b.entries))
	for _, e := range b.entries {
		if !e.skip {
			writes = append(writes, &e.write)
		}
	}
	b.begun = time.Now()
	b.pending = c.store.Commit(context.Background(), writes)
	return b
}

// stale reports whether changes have gathered for long and nobody commits them.
func (c *committer) stale() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.leading && len(c.gathering.entries) > 0 && time.Since(c.gathering.since) > maxGather
}

// drain waits until everything that has gathered is settled.
func (c *committer) drain() {
	c.flush() // who would, may be in a turn that does not end
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.leading || len(c.gathering.entries) > 0 {
		c.news.Wait()
	}
}

// add puts a change into the batch that gathers, into the actor's newest entry if
// that is still there. The instance is locked; once it is not, somebody must flush.
func (c *committer) add(i *instance, change *change, op store.Op) *entry {
	rows := change.rows.writes() // every actor's turns wait for the lock
	c.mu.Lock()
	e := i.entry
	fresh := e == nil || e.batch != c.gathering
	if fresh {
		e = &entry{inst: i, batch: c.gathering, generation: i.generation, write: store.Write{Op: op, Expect: i.revision}}
		if len(c.gathering.entries) == 0 {
			c.gathering.since = time.Now()
		}
		c.gathering.entries = append(c.gathering.entries, e)
	} else if op == store.OpDestroy {
		e.skip = e.write.Op == store.OpCreate
		e.write.Op = op
	}
	e.turns++
	e.write.Record = store.Record{
		Address:  i.addr,
		ID:       i.id,
		Revision: i.revision + 1,

		StateVersion: i.typ.stateVersion,

		State:     change.state,
		EventHead: change.eventHead,
		CreatedAt: i.createdAt,
	}
	if r := change.stored; r != nil {
		e.write.Record.StateVersion, e.write.Record.Quarantined = r.StateVersion, r.Quarantined
	}
	if r := change.mends; r != nil {
		e.write.Mend, e.write.Expect = true, r.Revision
	}
	switch op {
	case store.OpDestroy: // takes every row with it
		e.write.Rows = nil
	default:
		e.write.Rows = append(append(e.write.Rows, rows...), change.writes...)
	}
	c.mu.Unlock()
	return e
}
