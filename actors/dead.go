// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"slices"

	"github.com/troupe-dev/troupe/actors/store"
)

// deadRow is a row of the dead list: one that is shelved.
type deadRow struct {
	store.DueRow

	addr store.Address
}

// deadRows returns rows of one kind that a query selects: of one actor those from
// the key first on, and of the actor where the page before ended those after the key
// after. The error is ready for the wire.
func (h *Host) deadRows(ctx context.Context, q DeadQuery, kind store.Kind, first, after []byte) ([]deadRow, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	var found []deadRow
	var err error
	if q.Actor != nil {
		found, err = h.deadOf(ctx, q, kind, first, after)
	} else {
		found, err = h.deadAnywhere(ctx, q, kind, after)
	}
	if errors.Is(err, store.ErrNotFound) {
		err = notFound()
	}
	if err != nil {
		return nil, wireError(ctx, h.log, h.methods[0], err)
	}
	return found, nil
}

// deadOf lists those of one actor.
func (h *Host) deadOf(ctx context.Context, q DeadQuery, kind store.Kind, from, after []byte) ([]deadRow, error) {
	d, err := h.describe(ctx, *q.Actor)
	if err != nil {
		return nil, err
	}
	if q.AfterActor == d.ID {
		from = append(slices.Clip(after), 0)
	}
	var rows []store.Row
	err = h.committer.durably(ctx, func() (err error) {
		rows, err = h.store.Scan(ctx, d.ID, kind, store.Range{From: from})
		return err
	})
	if err != nil {
		return nil, err
	}
	var found []deadRow
	for n := 0; n < len(rows) && len(found) < q.Limit; n++ {
		if rows[n].Due.Equal(shelved) {
			found = append(found, deadRow{store.DueRow{ID: d.ID, Row: rows[n]}, d.Address})
		}
	}
	return found, nil
}

// deadAnywhere lists those of many actors: their rows stand at the end of the due
// index of each shard.
func (h *Host) deadAnywhere(ctx context.Context, q DeadQuery, kind store.Kind, key []byte) ([]deadRow, error) {
	var found []deadRow
	after := &store.DueRow{ID: q.AfterActor, Row: store.Row{Key: key, Due: shelved}}
	if q.AfterActor.IsZero() {
		after.Key = nil
	}
	for shard := q.AfterActor.Shard(); shard < h.shards; shard++ {
		for more := true; more; {
			rows, err := h.store.Due(ctx, shard, kind, shelved, after, duePage)
			if err != nil {
				return nil, err
			}
			for _, row := range rows {
				if row.Damaged {
					continue // it says nothing
				}
				addr, ok, err := h.selects(ctx, q, row.ID)
				if err != nil {
					return nil, err
				}
				if !ok {
					continue
				}
				if found = append(found, deadRow{row, addr}); len(found) == q.Limit {
					return found, nil
				}
			}
			if more = len(rows) == duePage; more {
				after = &rows[duePage-1]
			}
		}
		after = &store.DueRow{Row: store.Row{Due: shelved}}
	}
	return found, nil
}

// selects reports whether a query selects an actor, and that its rows are durable.
func (h *Host) selects(ctx context.Context, q DeadQuery, id store.ID) (addr store.Address, ok bool, err error) {
	addr, err = h.addressOf(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return addr, false, nil // destroyed meanwhile
	}
	if err != nil || addr.Namespace != q.Namespace || q.Type != "" && addr.Type != q.Type {
		return addr, false, err
	}
	if i := h.table.peek(addr); i != nil {
		if err := i.durable(ctx); err != nil {
			return addr, false, err
		}
	}
	return addr, true, nil
}

// manageRows runs a writing turn of an actor that exists.
func (h *Host) manageRows(ctx context.Context, target Target, run func(*turn) error) error {
	m, err := h.lifecycleMethod(ctx, target)
	if err != nil {
		return err
	}
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	target.Resolve = Get
	call := &Call{Target: target, Method: m, Codec: noReply{}}
	if _, err := h.submit(ctx, call, nil, false, func(t *turn, _ *body) error { return run(t) }); err != nil {
		return wireError(ctx, h.log, m, err)
	}
	return nil
}
