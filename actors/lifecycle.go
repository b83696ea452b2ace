// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

// Description describes an actor.
type Description struct {
	store.Record
	// Awake says whether the actor is in memory.
	Awake bool
	// Connections is the number of its open connections.
	Connections int
	// Status says what the actor is doing.
	Status Status
	Failure
}

// Ensure resolves target, creating the actor if target.Resolve says so, and
// describes it. Created says whether it did. It does not wake an actor.
func (h *Host) Ensure(ctx context.Context, target Target, input []byte) (d Description, created bool, err error) {
	m, err := h.lifecycleMethod(ctx, target)
	if err != nil {
		return Description{}, false, err
	}
	if err := h.enter(); err != nil {
		return Description{}, false, err
	}
	defer h.leave()
	d, err = h.describe(ctx, target)
	switch {
	case err == nil && target.Resolve == Create && target.ID.IsZero():
		err = alreadyExists(d.ID.String())
	case errors.Is(err, store.ErrNotFound) && (target.Resolve == Get || !target.ID.IsZero()):
		err = notFound()
	case errors.Is(err, store.ErrNotFound):
		created, d, err = h.create(ctx, m, target, input)
		if errors.Is(err, store.ErrNotFound) {
			err = notFound() // destroyed at once
		}
	}
	if err != nil {
		return Description{}, false, wireError(ctx, h.log, m, adminError(err))
	}
	return d, created, nil
}

func (h *Host) create(ctx context.Context, m *Method, target Target, input []byte) (bool, Description, error) {
	call := &Call{Target: target, Method: m, Input: input, host: h}
	if err := beforeConnect(ctx, m.owner, call, nil); err != nil {
		return false, Description{}, err
	}
	t, err := h.submit(ctx, call, nil, false, func(*turn, *body) error { return nil })
	if err != nil {
		return false, Description{}, err
	}
	d, err := h.describe(ctx, target)
	return t.reply.Created, d, err
}

// describe describes an actor as it is durable. The store shows what has begun, so
// describe waits for the commits that are under way and looks again if one fails.
func (h *Host) describe(ctx context.Context, target Target) (Description, error) {
	for {
		if !h.Admits(&target) {
			return Description{}, errNotOwner
		}
		record, err := h.load(ctx, target)
		addr := target.Address
		if err == nil || record.Damaged {
			addr = record.Address
		}
		if i := h.table.peek(addr); i != nil {
			if failed := i.durable(ctx); failed == errDiscarded || failed == errUnknownOutcome || failed == errStoreFull || cannotWake(failed) { //nolint:errorlint // our own, never wrapped
				continue
			} else if failed != nil {
				return Description{}, failed
			}
		}
		if !h.Admits(&target) {
			return Description{}, errNotOwner // others may have changed it since it was read
		}
		if err != nil && !record.Damaged {
			return Description{}, err
		}
		d := h.annotate(record)
		if d.Damaged && d.LastError == "" {
			d.LastError = err.Error()
		}
		return d, nil
	}
}

// durable waits for the commits that are under way.
func (i *instance) durable(ctx context.Context) error {
	i.mu.Lock()
	if i.entry == nil {
		i.mu.Unlock()
		return nil
	}
	t := i.host.newTurn(ctx, i.typ, nil, nil)
	t.inst = i
	t.status.Store(turnSettled)
	i.entry.waiting = append(i.entry.waiting, t)
	i.mu.Unlock()
	return i.host.answer(ctx, t)
}

func (h *Host) annotate(record store.Record) Description {
	d := Description{Record: record}
	if d.StateBytes == 0 {
		d.StateBytes = len(record.State)
	}
	if !h.Admits(&Target{Address: record.Address, ID: record.ID}) {
		d.Status = StatusElsewhere
		return d
	}
	i := h.table.peek(record.Address)
	d.Status, d.Failure = h.statusOf(i, record, h.crashes.get(record.Address))
	if i != nil {
		i.mu.Lock()
		d.Awake, d.Connections = i.body != nil, len(i.conns)
		i.mu.Unlock()
	}
	return d
}

// Destroy destroys an actor for good and returns the id that is no more.
func (h *Host) Destroy(ctx context.Context, target Target) (store.ID, error) {
	m, err := h.lifecycleMethod(ctx, target)
	if err != nil {
		return store.ID{}, err
	}
	if err := h.enter(); err != nil {
		return store.ID{}, err
	}
	defer h.leave()
	target.Resolve = Get
	call := &Call{Target: target, Method: m}
	t, err := h.submit(ctx, call, nil, false, func(t *turn, _ *body) error {
		t.destroy = true
		return nil
	})
	if cannotWake(err) {
		t, err = h.submitStored(ctx, m, target, true, func(*store.Record) error { return nil })
	}
	if err != nil {
		return store.ID{}, wireError(ctx, h.log, m, err)
	}
	return t.reply.ID, nil
}

// List describes actors in order of namespace, type and key, also those that other
// nodes run. Records come without their state.
func (h *Host) List(ctx context.Context, q store.ListQuery) ([]Description, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	var records []store.Record
	err := h.committer.durably(ctx, func() (err error) {
		records, err = h.store.List(ctx, q)
		return err
	})
	if err != nil {
		return nil, wireError(ctx, h.log, h.methods[0], err)
	}
	descriptions := make([]Description, len(records))
	for n, record := range records {
		descriptions[n] = h.annotate(record)
	}
	return descriptions, nil
}

// lifecycleMethod stands for the type of a lifecycle call's target.
func (h *Host) lifecycleMethod(ctx context.Context, target Target) (*Method, error) {
	if target.Address.Type == "" && !target.ID.IsZero() {
		addr, err := h.addressOf(ctx, target.ID)
		if typ := h.types[addr.Type]; err == nil && typ != nil {
			return typ.methods[0], nil
		}
		return h.methods[0], nil // it is not found, whatever the type
	}
	typ := h.types[target.Address.Type]
	if typ == nil {
		return nil, refusal(connect.CodeNotFound, "unknown_actor_type", notExecuted, "this server has no actor type %q", target.Address.Type)
	}
	return typ.methods[0], nil
}
