// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"

	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// A stored turn works on what is stored of an actor, without waking it: for those
// who run the server, when an actor cannot wake. It waits for its place among the
// actor's turns like any other; an actor in memory is dropped, and reads what the
// turn has left when it wakes again.

// storedWork is what a stored turn does, and what it does it to.
type storedWork struct {
	work   func(record *store.Record) error // makes a sound record of one that is damaged, or leaves it so
	record store.Record
}

// prepareStored reads the actor's record.
func (i *instance) prepareStored(t *turn) error {
	i.mu.Lock()
	i.dropLocked()
	t.body = nil
	i.mu.Unlock()
	record, err := i.salvage(t)
	if err != nil {
		return err
	}
	if !record.Damaged {
		i.adopt(record)
	}
	t.stored.record = record
	return nil
}

// performStored makes the change of a stored turn.
func (i *instance) performStored(t *turn) (*change, error) {
	found := t.stored.record
	if err := protect(func() error { return t.stored.work(&t.stored.record) }); err != nil {
		return nil, err
	}
	if t.stored.record.Damaged && !t.destroy {
		return nil, dataLoss()
	}
	if !t.status.CompareAndSwap(turnRunning, turnSettled) {
		return nil, context.DeadlineExceeded
	}
	if t.stored.record.Quarantined {
		i.mu.Lock()
		i.closeLocked(closing{reason: troupev1.CloseReason_CLOSE_REASON_RESTARTED, message: "the actor is quarantined"})
		i.mu.Unlock()
	}
	c := &change{body: &body{inst: i}, state: t.stored.record.State, eventHead: t.stored.record.EventHead, stored: &t.stored.record, dirty: true}
	if found.Damaged {
		i.mend(&found)
		c.mends, c.eventHead = &found, i.eventHead
	}
	return c, nil
}

// adopt makes a stored record the newest that is known of the actor.
func (i *instance) adopt(record store.Record) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.identifyLocked(record.ID, record.CreatedAt)
	i.revision, i.eventHead, i.durableHead = record.Revision, record.EventHead, record.EventHead
}

// submitStored runs a stored turn at the actor that a target names.
func (h *Host) submitStored(ctx context.Context, m *Method, target Target, destroy bool, work func(*store.Record) error) (*turn, error) {
	target.Resolve = Get
	call := &Call{Target: target, Method: m}
	for {
		i, err := h.find(ctx, call)
		if err != nil {
			return nil, err
		}
		t := h.newTurn(ctx, i.typ, call, nil)
		t.stored, t.destroy = &storedWork{work: work}, destroy
		err = h.await(ctx, i, t)
		if err == errIncarnationGone { //nolint:errorlint // our own, never wrapped
			continue
		}
		if err == nil {
			h.crashes.forget(i.addr)
			h.lifted(i.addr)
		}
		return t, err
	}
}
