// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/internal/seedbug"
	"google.golang.org/protobuf/proto"
)

// change is what a turn that went well leaves behind.
type change struct {
	body       *body
	state      []byte // the new snapshot
	dirty      bool   // something must be stored
	eventHead  uint64
	deliveries []delivery
	rows       overlay          // what turns can read
	writes     []store.RowWrite // what only the store reads
	works      []*work          // begin beside the actor
	log        eventLog
	stored     *store.Record // what a turn that did not wake the actor makes of its record
}

// prepare brings the actor into memory and resolves the turn's target. Only a turn
// that runs by itself can find the actor absent from memory.
func (i *instance) prepare(t *turn) error {
	if t.enters != nil && t.enters != t.body {
		return errRestarted
	}
	if t.stored != nil {
		return i.prepareStored(t)
	}
	if err := i.shed(t); err != nil {
		return err
	}
	if t.body == nil {
		if t.sleep {
			return errAbsent
		}
		if t.asleep {
			return i.prepareAsleep(t)
		}
		leave, err := i.host.wakes.enter()
		if err != nil {
			return err
		}
		defer leave()
		if known := i.host.crashes.get(i.addr); known.refuses(time.Now()) {
			return known.refusal(time.Now())
		}
		record, err := i.host.store.Load(t, i.addr)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return i.prepareAbsent(t)
		case errors.Is(err, store.ErrCorrupt):
			return i.quarantine(reasonDataLoss, err)
		case err != nil:
			return fmt.Errorf("load the actor: %w", err)
		}
		if !t.wants(record.ID) {
			return notFound()
		}
		if err := t.occupied(record.ID); err != nil {
			return err
		}
		return i.revive(t, record)
	}
	if !t.wants(i.id) {
		return notFound()
	}
	return t.occupied(i.id)
}

// occupied refuses a creation of an actor that exists, unless it may be the creation
// of that actor, sent again.
func (t *turn) occupied(id store.ID) error {
	switch {
	case t.call == nil || t.call.Resolve != Create || !t.call.ID.IsZero():
		return nil
	case t.repeatable():
		t.exists = true
		return nil
	}
	return alreadyExists(id.String())
}

func (i *instance) prepareAbsent(t *turn) error {
	switch {
	case t.call == nil:
		return errAbsent
	case t.call.Resolve == Get || !t.call.ID.IsZero():
		return notFound()
	}
	return i.create(t)
}

// errAbsent ends a turn of the runtime whose actor is not there.
var errAbsent = errors.New("actors: the actor is absent")

func notFound() error {
	return &refusalError{refusal(connect.CodeNotFound, "actor_not_found", notExecuted, "there is no such actor")}
}

func alreadyExists(id string) error {
	return &refusalError{refusal(connect.CodeAlreadyExists, "actor_exists", notExecuted, "the key is taken by the actor %s", id)}
}

// wake makes a body out of a record.
func (i *instance) wake(t *turn, record store.Record) error {
	b := i.newBody()
	migrated, err := i.decode(t, b, record)
	if err != nil {
		return err
	}
	i.adopt(record)
	return i.enter(t, b, migrated)
}

// create makes a new actor: its first turn, which stays even if the action that
// caused it fails.
func (i *instance) create(t *turn) (err error) {
	b := i.newBody()
	defer b.endIf(&err)
	i.mu.Lock()
	i.identifyLocked(store.NewID(store.ShardOf(i.addr, i.host.shards)), time.Now())
	i.revision, i.eventHead, i.durableHead = 0, 0, 0
	i.mu.Unlock()
	if i.typ.inputType != nil {
		input := newMessage(i.typ.inputType)
		if err := proto.Unmarshal(t.call.Input, input); err != nil {
			return &refusalError{refusal(connect.CodeInvalidArgument, "bad_actor_input", notExecuted, "actor-input-bin is not a %s", i.typ.inputType.Descriptor().FullName())}
		}
		if err := i.host.check(input); err != nil {
			return err
		}
		if hook := i.typ.hooks.create; hook != nil {
			b.turn = t
			err := t.within("create", i.typ.limits.hooks.Create, func() error { return hook(b.actor, t, input) })
			b.turn = nil
			if err != nil {
				return err
			}
		}
	} else if len(t.call.Input) > 0 {
		return &refusalError{refusal(connect.CodeInvalidArgument, "bad_actor_input", notExecuted, "%s takes no input", i.typ.name)}
	}
	created, err := i.collect(t, b)
	if err != nil {
		return err
	}
	if t.status.Load() != turnRunning {
		return context.DeadlineExceeded
	}
	created.dirty = true
	i.mu.Lock()
	i.commitLocked(nil, created, store.OpCreate)
	i.mu.Unlock()
	t.reply.Created = true
	return i.enter(t, b, false)
}

// enter runs the wake hook, a turn of its own, and puts the body into memory. What
// the hook or a migration changed is stored. An actor that is destroyed in its
// hooks ends here.
func (i *instance) enter(t *turn, b *body, migrated bool) (err error) {
	defer b.endIf(&err)
	woken := &change{body: b, state: b.snapshot, eventHead: i.eventHead}
	if hook := i.typ.hooks.wake; hook != nil || migrated || t.destroy {
		b.turn = t
		err := t.within("wake", i.typ.limits.hooks.Wake, func() error {
			if hook == nil {
				return nil
			}
			return hook(b.actor, t)
		})
		if err == nil && t.destroy {
			err = t.destroying(b)
		}
		b.turn = nil
		if err != nil {
			return err
		}
		if woken, err = i.collect(t, b); err != nil {
			return err
		}
		woken.dirty = woken.dirty || migrated
		if t.status.Load() != turnRunning {
			return context.DeadlineExceeded
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	defer func() { i.soles++ }() // what follows may change the connections anew
	if t.generation != i.generation {
		return errDiscarded
	}
	if t.destroy {
		t.destroy = false
		i.commitLocked(nil, woken, store.OpDestroy)
		return errDestroyedInWake
	}
	if woken.dirty {
		i.commitLocked(nil, woken, store.OpUpdate)
		i.keepUndoLocked(t)
	} else {
		t.undo = nil
		i.deliverLocked(woken)
	}
	i.body, t.body = b, b
	b.stopIfClosingLocked()
	i.host.table.addID(i.id, i)
	return nil
}

func (i *instance) newBody() *body {
	b := &body{inst: i}
	b.actor, b.handlers = i.typ.build()
	b.actor.bind(b)
	if i.typ.stateType != nil {
		b.state = newMessage(i.typ.stateType)
	}
	return b
}

func (i *instance) identifyLocked(id store.ID, createdAt time.Time) {
	if id != i.id {
		i.bereaveLocked() // a destroy whose outcome was unknown took effect
	}
	i.id, i.idText, i.createdAt, i.cursor = id, id.String(), createdAt, ""
	i.cursors = cursorPrefix(id, i.host.generation)
}

// perform runs the turn's code and returns its change, or an error after it has
// undone what the code did.
func (i *instance) perform(t *turn) (*change, error) {
	if t.status.Load() != turnRunning {
		return nil, nil //nolint:nilnil // given up while the actor came into memory
	}
	b := t.body
	if t.stored != nil {
		return i.performStored(t)
	}
	if t.readOnly {
		b.reads.Add(1)
		err := protect(func() error { return t.read(b) })
		b.reads.Add(-1)
		if err != nil {
			if _, panicked := errors.AsType[*panicError](err); panicked {
				i.panicked(err)
			}
			if spoiled(err) {
				i.mu.Lock()
				i.dropLocked() // readers beside it keep what they have
				i.mu.Unlock()
			}
			return nil, err
		}
		return &change{body: b, eventHead: i.eventHead}, nil
	}
	b.turn = t
	err := protect(func() error {
		if err := t.run(t, b); err != nil {
			return err
		}
		if err := t.changedState(b); err != nil || !t.destroy {
			return err
		}
		return t.destroying(b)
	})
	b.turn = nil
	// From here on the turn can only be given up by the runtime.
	sealed := !t.status.CompareAndSwap(turnRunning, turnSettled)
	if err == nil && !sealed {
		var c *change
		err = protect(func() (err error) { c, err = i.collect(t, b); return err })
		if err == nil {
			return c, nil
		}
	}
	t.events, t.rows, t.destroy = nil, nil, false
	if t.kept {
		b.replies = nil // they count one that is not there, and lack those it replaced
	}
	if _, panicked := errors.AsType[*panicError](err); panicked {
		i.panicked(err)
	} else if !sealed && (seedbug.On(5) || b.restore() == nil) {
		return nil, err
	}
	i.mu.Lock()
	i.dropLocked()
	i.mu.Unlock()
	return nil, err
}

// collect makes the change of a turn whose code went well.
func (i *instance) collect(t *turn, b *body) (*change, error) {
	c := &change{body: b, state: b.snapshot, eventHead: i.eventHead, rows: t.rows, log: b.log, dirty: t.destroy || len(t.rows) > 0, stored: b.record}
	if t.refused != nil {
		return nil, t.refused
	}
	if limit := i.typ.limits.rows.CommitBytes; t.rowBytes > limit {
		return nil, &refusalError{refusal(connect.CodeResourceExhausted, "commit_too_large", notExecuted,
			"the turn writes %d bytes of rows and events and may write %d", t.rowBytes, limit)}
	}
	if err := t.checkOutbox(); err != nil {
		return nil, err
	}
	if b.state != nil {
		options := proto.MarshalOptions{Deterministic: i.typ.stateMaps}
		size := options.Size(b.state)
		if size > i.typ.limits.stateBytes {
			return nil, &refusalError{refusal(connect.CodeResourceExhausted, "state_too_large", notExecuted,
				"the actor's state would have %d bytes and may have %d", size, i.typ.limits.stateBytes)}
		}
		options.UseCachedSize = true
		state, err := options.MarshalAppend(make([]byte, 0, size), b.state)
		if err != nil {
			return nil, fmt.Errorf("encode the state: %w", err)
		}
		if !bytes.Equal(state, b.snapshot) {
			c.state, c.dirty = state, true
		}
	}
	if err := i.collectEvents(t, b, c); err != nil {
		return nil, err
	}
	// The turn may go on with another part.
	t.events, t.published, t.rows, t.rowBytes, t.kvKeys, t.sent = nil, 0, nil, 0, 0, nil
	c.works = t.takeWorks()
	return c, nil
}

// protect runs the author's code and makes an error of a panic.
func protect(f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value: value, stack: debug.Stack()}
		}
	}()
	return f()
}

// destroying runs the destroy hook in the turn that destroys the actor.
func (t *turn) destroying(b *body) error {
	hook := b.inst.typ.hooks.destroy
	if hook == nil {
		return nil
	}
	return t.within("destroy", b.inst.typ.limits.hooks.Destroy, func() error { return hook(b.actor, t) })
}

// errDestroyedInWake answers a call that woke an actor which destroyed itself as it
// woke.
var errDestroyedInWake error = &refusalError{retryable(refusal(connect.CodeAborted, "actor_destroyed", notExecuted,
	"the actor destroyed itself when it woke"), 0)}

// expire gives up a turn whose time is over, running or not. Its caller is
// answered; code that still runs can no longer commit.
func (t *turn) expire(err *refusalError) {
	switch {
	case t.status.CompareAndSwap(turnQueued, turnSealed):
	case t.status.CompareAndSwap(turnRunning, turnSealed):
		t.end(context.DeadlineExceeded)
		t.inst.host.stuck.report(t)
		if t.borrows { // its caller cannot answer: it is in the turn
			go func() {
				t.call.Detach(err.wire)
				t.finish(err)
			}()
			return
		}
	default:
		return
	}
	t.finish(err)
}

// errOutOfTime answers a turn that did not end in time.
var errOutOfTime = &refusalError{refusal(connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted,
	"the turn did not end in time and was rolled back")}
