// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/proto"
)

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
	if t.generation != i.generation {
		i.mu.Unlock()
		return errDiscarded
	}
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
		i.mu.Lock()
		t.waking = b
		i.mu.Unlock()
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
	i.renewLocked() // its hook may have got a context that a handover has ended since
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
