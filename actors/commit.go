// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

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
	case errors.Is(err, store.ErrCorrupt):
		answer = dataLoss() // found only now: it was in memory
	}
	if answer != errStoreFull || i.host.full.due(time.Now(), fullInterval) { //nolint:errorlint // our own
		i.logger().Error("a commit failed; the turns that saw it are discarded",
			slog.Any("error", err), slog.Int("turns", e.turns))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if answer == errUnknownOutcome || errors.Is(err, store.ErrConflict) && e.generation == i.generation { //nolint:errorlint // our own
		// The log may go on with events that were not sent: those of this commit, or
		// somebody else's. Streams end, and go on from their cursors if it does not. A
		// conflict that only follows from an earlier failure says nothing of the kind.
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

// fullInterval is how often the log says that the store is full, which every write finds.
const fullInterval = 10 * time.Second

// seldom is when something may be said that happens all the time.
type seldom struct{ next atomic.Int64 }

func (s *seldom) due(now time.Time, interval time.Duration) bool {
	next := s.next.Load()
	return now.UnixNano() >= next && s.next.CompareAndSwap(next, now.Add(interval).UnixNano())
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
