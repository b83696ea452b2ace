// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

// instance is the one place in this process where an actor's turns are put in
// order. It exists while the actor is in memory, has connections or has calls
// waiting; it owns no goroutine.
//
// Who may touch what: mu guards the fields below it. The turn that is writing has
// the body to itself, and is the only one to change the identity fields; turns
// that read together share the body.
type instance struct {
	host  *Host
	typ   *actorType
	addr  store.Address
	shard uint16 // 0 on a host that runs everything

	mu       sync.Mutex
	queue    mailbox
	writing  bool
	sole     *turn  // the one that runs by itself; nil if none does
	soles    uint64 // how many such turns there were
	readers  int
	body     *body // nil while the actor is not in memory
	lastUsed time.Time

	// What the newest turn left, durable or not.
	id        store.ID
	idText    string
	cursors   string // what the cursors of the incarnation begin with
	revision  uint64
	eventHead uint64
	createdAt time.Time

	cursor      string // the text of the cursor at cursorHead
	cursorHead  uint64
	durableHead uint64 // eventHead as of the newest settled commit

	// generation counts the discards: a turn that began before one saw what
	// was never stored.
	generation uint32
	changed    atomic.Bool // something was committed and not flushed since
	rows       overlay     // what turns have written and is not durable
	entry      *entry      // the newest part of a commit that is not durable; nil if all is
	undurable  int         // turns that have changed something and are not durable
	destroying bool        // a turn has destroyed the actor; its commit is under way
	gone       bool        // no longer in the host's table
	conns      []*Conn
	undo       []connUndo // of turns that are not durable
	undoDue    bool       // they will not be: undo them before the next turn
}

// enqueue puts a turn at the end of the mailbox and starts it if it may run. A turn
// that can borrow its caller's goroutine is left to the caller then: mine says so.
func (i *instance) enqueue(t *turn) (mine bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if t.call == nil || t.call.Detach == nil || i.gone || i.queue.head != nil || i.refusesLocked(t) {
		return false, i.enqueueLocked(t)
	}
	t.inst = i
	i.queue.push(t)
	t.borrows = i.nextLocked() == t
	return t.borrows, nil
}

func (i *instance) enqueueLocked(t *turn) error {
	t.inst = i
	if i.gone {
		return errIncarnationGone
	}
	if i.refusesLocked(t) {
		i.forgetLocked()
		return errNotOwner
	}
	if (t.call != nil && !t.call.ours || t.enters != nil) && !seedbug.On(18) {
		if err := i.overloadedLocked(t); err != nil {
			return err
		}
	}
	i.queue.push(t)
	i.dispatchLocked()
	return nil
}

// dispatchLocked starts every turn that may run now.
func (i *instance) dispatchLocked() {
	for t := i.nextLocked(); t != nil; t = i.nextLocked() {
		i.host.workers.start(t)
	}
}

// nextLocked takes the first turn out of the mailbox if it may run now. Read-only
// turns run beside each other, everything else by itself, all in order of arrival.
// An actor that is not in memory comes there in a turn by itself, once all that
// was committed before is known to the store.
func (i *instance) nextLocked() *turn {
	for t := i.queue.head; t != nil && !i.destroying; t = i.queue.head {
		t.shared = t.readOnly && i.body != nil
		switch {
		case i.writing:
			return nil
		case t.shared:
		case i.readers > 0, (i.body == nil || t.stored != nil) && i.undurable > 0, i.undurable >= i.typ.limits.undurable:
			return nil
		}
		i.queue.remove(t)
		if time.Now().After(t.deadline) {
			t.expire(errOutOfTime) // the watchdog would see it later
			continue
		}
		if !t.status.CompareAndSwap(turnQueued, turnRunning) {
			continue // its caller has left
		}
		t.generation, t.body = i.generation, i.body
		if t.shared {
			i.readers++
		} else {
			i.writing, i.sole = true, t
			i.soles++
			i.undoConnsLocked()
		}
		return t
	}
	return nil
}

// execute runs a turn and returns the one that this worker runs next, or nil.
func (i *instance) execute(t *turn) *turn {
	exited := true
	defer func() {
		if exited {
			i.exited(t)
		}
	}()
	var change *change
	err := protect(func() error { return i.prepare(t) })
	if err == nil {
		change, err = i.perform(t)
	}
	exited = false
	return i.conclude(t, change, err)
}

// conclude settles a turn that has run and returns the one to run next, or nil.
func (i *instance) conclude(t *turn, change *change, err error) *turn {
	t.status.CompareAndSwap(turnRunning, turnSettled)
	t.end(context.Canceled)

	i.mu.Lock()
	defer i.mu.Unlock()
	if !t.shared && (change == nil || t.generation != i.generation) {
		t.undoConns()
	}
	i.settleLocked(t, change, err)
	if t.sleep {
		i.dropLocked() // also for who waits: the hook has undone what OnWake set up
	}
	if t.shared {
		i.readers--
	} else {
		i.writing, i.sole = false, nil
	}
	if t.enters == nil {
		i.lastUsed = time.Now()
	}
	next := i.nextLocked()
	if next == nil || next.shared {
		i.dispatchLocked()
	}
	if next == nil {
		i.forgetLocked()
	}
	return next
}

// cursorLocked returns the text of a cursor. Replies between two events share it.
func (i *instance) cursorLocked(head uint64) string {
	if i.cursor == "" || i.cursorHead != head {
		i.cursor, i.cursorHead = cursorText(i.cursors, head), head
	}
	return i.cursor
}

// forgetLocked drops an instance that holds nothing from the host's table.
func (i *instance) forgetLocked() {
	if i.body == nil && i.queue.len == 0 && !i.writing && i.readers == 0 && i.undurable == 0 &&
		i.entry == nil && len(i.conns) == 0 && !i.gone {
		i.gone = true
		i.host.table.remove(i)
	}
}

// discardLocked takes the actor out of memory, so that the next turn reads it from
// the store again.
func (i *instance) discardLocked() {
	i.generation++
	i.rows = nil
	i.dropLocked()
}

// dropLocked takes the actor out of memory.
func (i *instance) dropLocked() {
	if i.body != nil {
		i.body.endLocked()
		i.body = nil
		i.host.table.removeID(i.id)
	}
}

func (i *instance) logger() *slog.Logger {
	return i.host.logger(i.addr)
}

// logger names an actor in what is logged.
func (h *Host) logger(addr store.Address) *slog.Logger {
	return h.log.With(slog.String("namespace", addr.Namespace), slog.String("actor", addr.Type), slog.String("key", addr.Key))
}
