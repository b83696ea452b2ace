// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/seedbug"
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
}

// entry is one actor's part of a batch: the changes of one or more of its turns,
// and what waits for them.
type entry struct {
	inst  *instance
	batch *batch
	write store.Write
	skip  bool // created and destroyed in one batch
	turns int  // how many turns' changes it holds

	// Guarded by the instance's mu.
	waiting    []*turn
	deliveries []delivery
	works      []*work
}

func newCommitter(s store.Store) *committer {
	c := &committer{store: s, gathering: new(batch)}
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
	next := c.take() // the disk works on it while the answers go out
	failed := false
	for _, e := range b.entries {
		failed = failed || e.write.Err != nil
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
		e = &entry{inst: i, batch: c.gathering, write: store.Write{Op: op, Expect: i.revision}}
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
	switch op {
	case store.OpDestroy: // takes every row with it
		e.write.Rows = nil
	default:
		e.write.Rows = append(append(e.write.Rows, rows...), change.writes...)
	}
	c.mu.Unlock()
	return e
}

// commitLocked makes a change the newest of the actor and puts it into the batch
// that gathers.
func (i *instance) commitLocked(t *turn, c *change, op store.Op) {
	i.entry = i.host.committer.add(i, c, op)
	i.changed.Store(true)
	i.revision++
	i.eventHead = c.eventHead
	i.coverLocked(c.rows, i.entry)
	i.undurable++
	c.body.snapshot, c.body.log, c.body.usage = c.state, c.log, c.usage
	i.destroying = op == store.OpDestroy
	if seedbug.On(3) && t != nil {
		t.finish(nil)
		t = nil
	}
	if seedbug.On(4) {
		deliver(c.deliveries)
		c.deliveries = nil
	}
	if t != nil {
		i.entry.waiting = append(i.entry.waiting, t)
		i.keepUndoLocked(t)
	}
	i.entry.deliveries = append(i.entry.deliveries, c.deliveries...)
	i.entry.works = append(i.entry.works, c.works...)
}

// settleLocked decides what a turn that has run waits for before its answer leaves:
// the commit of its own change, that of the newest change it could have seen, or
// nothing.
func (i *instance) settleLocked(t *turn, c *change, err error) {
	if t.status.Load() == turnSealed {
		i.disownLocked(t)
		if err != nil {
			i.logger().Warn("a turn failed after its caller had been answered", slog.Any("error", err))
		}
		return
	}
	t.err = err
	t.reply.ID, t.reply.Body = i.id, t.stream.body
	t.reply.Header = t.responseHeader()
	if t.generation != i.generation {
		i.disownLocked(t)
		t.finish(errDiscarded)
		return
	}
	if c == nil {
		i.disownLocked(t)
	} else {
		t.reply.Cursor = i.cursorLocked(c.eventHead)
	}
	switch {
	case c != nil && c.dirty && t.destroy:
		i.commitLocked(t, c, store.OpDestroy)
	case c != nil && c.dirty:
		i.commitLocked(t, c, store.OpUpdate)
	case i.entry != nil:
		t.rests = true
		i.entry.waiting = append(i.entry.waiting, t)
		i.keepUndoLocked(t)
		if c != nil {
			i.deliverLocked(c)
		}
	case !i.runs():
		i.disownLocked(t)
		t.finish(errNotOwner)
	default:
		if c != nil {
			i.deliverLocked(c)
		}
		t.finish(nil)
	}
}

// deliverLocked delivers what a change sends that has nothing to store, once all
// that it could have seen is durable.
func (i *instance) deliverLocked(c *change) {
	if i.entry != nil {
		i.entry.deliveries = append(i.entry.deliveries, c.deliveries...)
		i.entry.works = append(i.entry.works, c.works...)
		return
	}
	if i.runs() {
		deliver(c.deliveries)
		startLocked(c.works)
	}
}

// settled answers everything that waited for an entry whose fate is known: first
// the events, then the replies. It is called by one goroutine, in commit order.
func (i *instance) settled(e *entry) {
	i.host.learn(&e.write) // whatever its fate: a row that is not there is not found
	if err := e.write.Err; err != nil && !e.skip {
		i.failed(e, err)
		return
	}
	i.mu.Lock()
	for {
		startLocked(e.works)
		waiting, deliveries := e.waiting, e.deliveries
		e.waiting, e.deliveries, e.works = nil, nil, nil
		if len(waiting) == 0 && len(deliveries) == 0 {
			break
		}
		i.mu.Unlock()
		deliver(deliveries)
		for _, t := range waiting {
			i.answerSettled(t)
		}
		i.mu.Lock()
	}
	defer i.mu.Unlock()
	i.durableHead = e.write.Record.EventHead
	i.forgetUndoLocked(e)
	i.doneLocked(e)
	if e.write.Op == store.OpDestroy {
		i.destroyedLocked()
		return
	}
	i.expireQueuedLocked()
	i.dispatchLocked()
	i.forgetLocked()
}

// answerSettled answers a turn that has waited for a commit which is durable now. A
// turn that has only read may have done so after the commit, and after the lease.
func (i *instance) answerSettled(t *turn) {
	if t.rests && !i.runs() {
		i.mu.Lock()
		i.disownLocked(t)
		i.mu.Unlock()
		t.finish(errNotOwner)
		return
	}
	t.finish(nil)
}

// failed discards every turn that saw an entry which could not be committed: those
// in it, those in later entries (the store refuses them, since they expect its
// revision) and those that run now.
func (i *instance) failed(e *entry, err error) {
	answer := errDiscarded
	switch {
	case errors.Is(err, store.ErrUnknown) && !seedbug.On(21):
		answer = errUnknownOutcome
	case errors.Is(err, store.ErrFull):
		answer = errStoreFull
	}
	i.logger().Error("a commit failed; the turns that saw it are discarded",
		slog.Any("error", err), slog.Int("turns", e.turns))
	i.mu.Lock()
	defer i.mu.Unlock()
	if answer == errUnknownOutcome { //nolint:errorlint // our own
		// The log may go on with events that were not sent: streams end, and go on
		// from their cursors if it does not.
		i.closeLocked(closing{reason: troupev1.CloseReason_CLOSE_REASON_RESTARTED, message: "events may have been lost"})
	}
	for _, t := range e.waiting {
		i.disownLocked(t)
		t.finish(answer)
	}
	i.destroying = false
	i.undoDue = true
	i.discardLocked()
	i.doneLocked(e)
	i.expireQueuedLocked()
	i.dispatchLocked()
	i.forgetLocked()
}

// disownLocked forgets the connection that a turn opened before it failed, and what
// it kept awake.
func (i *instance) disownLocked(t *turn) {
	t.releaseLocked()
	if t.opened != nil {
		i.conns = without(i.conns, t.opened)
	}
}

func (i *instance) doneLocked(e *entry) {
	i.undurable -= e.turns
	i.uncoverLocked(e)
	if i.entry == e {
		i.entry = nil
	}
}

// destroyedLocked ends an instance whose actor is no more: those who wait by key
// look it up again.
func (i *instance) destroyedLocked() {
	i.discardLocked()
	i.gone = true
	i.host.table.remove(i)
	i.host.crashes.forget(i.addr)
	i.host.unpark(i.addr)
	for t := i.queue.head; t != nil; t = i.queue.head {
		i.queue.remove(t)
		if t.status.CompareAndSwap(turnQueued, turnSealed) {
			t.finish(errIncarnationGone)
		}
	}
	i.bereaveLocked()
}

// bereaveLocked gives up the connections of an incarnation that is no more.
func (i *instance) bereaveLocked() {
	i.closeLocked(closing{reason: troupev1.CloseReason_CLOSE_REASON_DESTROYED, message: "the actor was destroyed", reconnectAfter: -1})
	i.conns = nil
}

func (i *instance) closeLocked(why closing) {
	for _, conn := range i.conns {
		conn.close(why)
	}
}

var (
	// errDiscarded answers a turn that saw a change which could not be
	// committed.
	errDiscarded error = &refusalError{retryable(refusal(connect.CodeAborted, "turn_discarded", notExecuted,
		"an earlier change of this actor could not be stored, so this call was undone"), 0)}
	// errUnknownOutcome answers a turn whose commit may or may not be durable.
	errUnknownOutcome error = &refusalError{refusal(connect.CodeUnavailable, "outcome_unknown", unknown,
		"the store cannot say whether the call took effect")}
	// errStoreFull answers a turn whose change the store has no room for.
	errStoreFull error = &refusalError{retryable(refusal(connect.CodeResourceExhausted, "store_full", notExecuted,
		"the server has no room left to store a change"), time.Second)}
	// errStoreUnavailable answers a turn for which the store could not be read.
	errStoreUnavailable = &refusalError{retryable(refusal(connect.CodeUnavailable, "store_unavailable", notExecuted,
		"the store does not answer"), time.Second)}
)
