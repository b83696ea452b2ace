// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

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
		known := i.host.crashes.get(i.addr)
		if err := known.refusal(time.Now()); err != nil {
			return err
		}
		record, err := i.load(t)
		if errors.Is(err, store.ErrNotFound) {
			return i.prepareAbsent(t)
		} else if err != nil {
			return err
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

// load reads the record of the incarnation that a turn wants. An actor that is not
// there is [store.ErrNotFound]; one whose record is damaged is quarantined.
func (i *instance) load(t *turn) (store.Record, error) {
	record, err := i.host.store.Load(t, i.addr)
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return record, i.quarantine(reasonDataLoss, err)
	case err != nil:
		return record, fmt.Errorf("load the actor: %w", err)
	case !t.wants(record.ID):
		return record, notFound()
	}
	return record, nil
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

// errDestroyedInWake answers a call that woke an actor which destroyed itself as it
// woke.
var errDestroyedInWake error = &refusalError{retryable(refusal(connect.CodeAborted, "actor_destroyed", notExecuted,
	"the actor destroyed itself when it woke"), 0)}
