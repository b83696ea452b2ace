// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// CrashAction is what becomes of an actor whose code panics in a turn, or that fails
// to wake. The turn itself is always undone, and what it had not stored is gone.
type CrashAction uint8

const (
	// CrashSleep leaves it out of memory until the next call wakes it. The
	// default.
	CrashSleep CrashAction = iota
	// CrashRestart wakes it again: at once after a panic, after its back-off
	// when it failed to wake.
	CrashRestart
	// CrashDestroy destroys it, without its destroy hook. Calls that waited
	// behind the crash may still reach it. An actor in quarantine is kept.
	CrashDestroy
)

// CrashPolicy says what becomes of an actor that crashes. Default [CrashSleep].
func CrashPolicy(action CrashAction) Option {
	return optionFunc(func(t *actorType) error {
		if action > CrashDestroy {
			return fmt.Errorf("CrashPolicy(%d) is none: use CrashSleep, CrashRestart or CrashDestroy", action)
		}
		t.crashPolicy = action
		return nil
	})
}

// react does what the policy says about an incarnation that has crashed.
func (i *instance) react(id store.ID, backoff time.Duration) {
	switch h := i.host; i.typ.crashPolicy {
	case CrashRestart:
		time.AfterFunc(backoff, func() { h.rouse(i.typ, i.addr, 0) })
	case CrashDestroy:
		time.AfterFunc(0, func() { h.bury(i.typ, i.addr, id) })
	case CrashSleep:
	}
}

// rouse wakes an actor, after so many tries that said nothing of it: the store could
// not be read, or too many actors were waking. One that fails to wake is seen to where
// it fails.
func (h *Host) rouse(typ *actorType, addr store.Address, tries int) {
	if h.enter() != nil {
		return
	}
	defer h.leave()
	ctx := context.Background()
	err := errIncarnationGone
	for errors.Is(err, errIncarnationGone) { // the instance that has crashed is forgotten just now
		t := h.newTurn(ctx, typ, nil, func(*turn, *body) error { return nil })
		t.readOnly = true
		err = h.await(ctx, h.table.get(h, typ, addr), t)
	}
	switch {
	case err == nil, cannotWake(err), errors.Is(err, errAbsent), errors.Is(err, errNotOwner):
	default:
		h.log.Warn("an actor that crashed is not awake again yet", slog.String("namespace", addr.Namespace),
			slog.String("actor", addr.Type), slog.String("key", addr.Key), slog.Any("error", err))
		time.AfterFunc(backoff(tries+1), func() { h.rouse(typ, addr, tries+1) })
	}
}

// bury destroys an incarnation that has crashed.
func (h *Host) bury(typ *actorType, addr store.Address, id store.ID) {
	if h.enter() != nil {
		return
	}
	defer h.leave()
	log := h.log.With(slog.String("actor", addr.Type), slog.String("key", addr.Key), slog.String("id", id.String()))
	target := Target{Address: addr, ID: id}
	if _, err := h.submitStored(context.Background(), typ.methods[0], target, true, func(*store.Record) error { return nil }); err != nil {
		log.Error("an actor that crashed could not be destroyed", slog.Any("error", err))
		return
	}
	log.Warn("an actor that crashed was destroyed")
}
