// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"errors"
	"log/slog"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

// parking is the actors whose rows of one kind wait until the actor can be used again,
// however long that takes: they are not tried meanwhile. It is known in memory only,
// so that the next start tries them once. The address is zero if it cannot be known.
type parking map[store.ID]store.Address

// needsLifting reports whether an error says that an actor cannot run before somebody
// has done something about it or the server: it is quarantined, its data is damaged, its
// state is too new for this server, or its type is unknown here. One that failed to wake
// is tried again by itself.
func needsLifting(err error) bool {
	refused, ok := errors.AsType[*notAwakeError](err)
	return ok && refused.wire.Code() != connect.CodeUnavailable || errors.Is(err, errUnknownType)
}

// park has the rows of an actor wait, which was refused for a reason. If an actor was
// lifted since lifts was read, it may be this one: it is tried again.
func (d *dispatcher) park(id store.ID, addr store.Address, lifts uint64, why error) {
	h := d.host
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.parked[id]; known || !h.admits(id.Shard()) {
		return
	}
	h.parked.Add(1) // first: who lifts looks at it last
	if h.lifts.Load() != lifts {
		h.parked.Add(-1)
		d.expectLocked(id.Shard(), time.Now().UnixMicro())
		return
	}
	d.parked[id] = addr
	h.log.Warn("rows that are due wait until their actor can be used again", slog.String("namespace", addr.Namespace),
		slog.String("actor", addr.Type), slog.String("key", addr.Key), slog.String("actor_id", id.String()), slog.Any("error", why))
}

// lifted lets an actor's rows go after somebody has done something about the actor.
func (h *Host) lifted(addr store.Address) {
	h.lifts.Add(1)
	h.unpark(addr)
}

// unpark lets the rows go of an actor that runs, or is no more.
func (h *Host) unpark(addr store.Address) {
	if h.parked.Load() == 0 {
		return
	}
	now := time.Now().UnixMicro()
	for _, d := range h.dispatchers {
		d.mu.Lock()
		for id, known := range d.parked {
			if known == addr || known == (store.Address{}) {
				delete(d.parked, id)
				h.parked.Add(-1)
				d.expectLocked(id.Shard(), now)
			}
		}
		d.mu.Unlock()
	}
}
