// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// A record whose checksum does not hold says nothing that can be relied on, but where
// it stands and, by the index of ids, which incarnation it was. Its rows have checksums
// of their own. So the actor is quarantined, and those who run the server replace the
// record or destroy the actor.

// load reads the record that a target names. Of one that is damaged it returns what is
// left, marked, with an error that wraps [store.ErrCorrupt].
func (h *Host) load(ctx context.Context, target Target) (record store.Record, err error) {
	if target.ID.IsZero() {
		record, err = h.store.Load(ctx, target.Address)
	} else {
		record, err = h.store.LoadID(ctx, target.ID)
	}
	if errors.Is(err, store.ErrCorrupt) {
		record, err = h.store.Salvage(ctx, target.Address, target.ID)
	}
	if !target.ID.IsZero() && (err == nil || record.Damaged) &&
		(record.Namespace != target.Address.Namespace || target.Address.Type != "" && record.Type != target.Address.Type) {
		return store.Record{}, store.ErrNotFound
	}
	return record, err
}

// addressOf returns the address of an incarnation, also if its record is damaged.
func (h *Host) addressOf(ctx context.Context, id store.ID) (store.Address, error) {
	if i := h.table.withID(id); i != nil {
		return i.addr, nil
	}
	record, err := h.store.LoadID(ctx, id)
	if errors.Is(err, store.ErrCorrupt) {
		if record, err = h.store.Salvage(ctx, store.Address{}, id); record.Damaged {
			err = nil
		}
	}
	return record.Address, err
}

// salvage reads the record of the incarnation that a stored turn wants, damaged or not.
func (i *instance) salvage(t *turn) (store.Record, error) {
	record, err := i.host.store.Salvage(t, i.addr, store.ID{})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return record, notFound()
	case err != nil && !record.Damaged:
		return record, fmt.Errorf("load the actor: %w", err)
	case !t.wants(record.ID):
		return record, notFound()
	}
	return record, nil
}

// mend has the actor go on from numbers that it has never had, after a turn that
// replaces or destroys its damaged record. A cursor, and a revision that somebody has
// read, so never mean another event or state than before: those of the past are all
// smaller. The stored events do not reach up to the new head, and count as trimmed.
func (i *instance) mend(damaged *store.Record) {
	id, now := damaged.ID, time.Now()
	if id.IsZero() { // nothing tells which one it was
		id = store.NewID(store.ShardOf(i.addr, i.host.shards))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.identifyLocked(id, now)
	i.revision = unusedNumber(now, damaged.Revision, damaged.EventHead)
	i.eventHead = i.revision
	i.closeLocked(closing{reason: troupev1.CloseReason_CLOSE_REASON_RESTARTED, message: "the actor was repaired"})
}

// unusedNumber returns a number that no turn and no event of an actor has had, whatever
// became of the counters: the microseconds since 1970. No actor does something in each
// of them. What the damaged record says counts too, unless it is out of all bounds, in
// case the clock was set back between two repairs.
func unusedNumber(now time.Time, said ...uint64) uint64 {
	number := uint64(max(0, now.UnixMicro()))
	for _, n := range said {
		if n < 1<<62 {
			number = max(number, n)
		}
	}
	return number + 1
}

// dataLoss refuses a call of an actor whose stored data is damaged.
func dataLoss() error { return (&crash{unusable: reasonDataLoss}).refusal(time.Time{}) }
