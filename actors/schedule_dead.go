// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

// DeadSchedule is a schedule in the dead list.
type DeadSchedule struct {
	// Address is the actor's.
	store.Address
	// ActorID is the incarnation that made the schedule.
	ActorID store.ID
	Scheduled
}

// DeadQuery selects schedules in the dead list.
type DeadQuery struct {
	// Namespace is the tenant; required.
	Namespace string
	// Type selects the actors of one type; empty is every type.
	Type string
	// Actor, unless nil, selects one actor, which must be there.
	Actor *Target
	// AfterActor and AfterID are the last schedule of the page before; zero is
	// the beginning.
	AfterActor store.ID
	AfterID    string
	// Limit bounds their number; at least 1.
	Limit int
}

// DeadSchedules returns schedules of the dead list in the order of their actors'
// ids and their own. It wakes no actor.
func (h *Host) DeadSchedules(ctx context.Context, q DeadQuery) ([]DeadSchedule, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	var found []DeadSchedule
	var err error
	if q.Actor != nil {
		found, err = h.deadOf(ctx, q)
	} else {
		found, err = h.deadAnywhere(ctx, q)
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
func (h *Host) deadOf(ctx context.Context, q DeadQuery) ([]DeadSchedule, error) {
	d, err := h.describe(ctx, *q.Actor)
	if err != nil {
		return nil, err
	}
	from := firstScheduleID
	if q.AfterActor == d.ID {
		from = append([]byte(q.AfterID), 0)
	}
	rows, err := h.store.Scan(ctx, d.ID, store.KindSchedule, store.Range{From: from})
	if err != nil {
		return nil, err
	}
	var found []DeadSchedule
	for n := 0; n < len(rows) && len(found) < q.Limit; n++ {
		if !rows[n].Due.Equal(shelved) {
			continue
		}
		s, err := scheduledOf(rows[n])
		if err != nil {
			return nil, err
		}
		found = append(found, DeadSchedule{Address: d.Address, ActorID: d.ID, Scheduled: s})
	}
	return found, nil
}

// deadAnywhere lists those of many actors: their rows stand at the end of the due
// index of each shard.
func (h *Host) deadAnywhere(ctx context.Context, q DeadQuery) ([]DeadSchedule, error) {
	var found []DeadSchedule
	after := &store.DueRow{ID: q.AfterActor, Row: store.Row{Key: []byte(q.AfterID), Due: shelved}}
	for shard := q.AfterActor.Shard(); shard < h.shards; shard++ {
		for more := true; more; {
			rows, err := h.store.Due(ctx, shard, store.KindSchedule, shelved, after, duePage)
			if err != nil {
				return nil, err
			}
			for _, row := range rows {
				dead, err := h.dead(ctx, q, row)
				if err != nil {
					return nil, err
				}
				if found = append(found, dead...); len(found) == q.Limit {
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

// dead describes a row if the query selects it and it is durable.
func (h *Host) dead(ctx context.Context, q DeadQuery, row store.DueRow) ([]DeadSchedule, error) {
	addr, err := h.addressOf(ctx, row.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // destroyed meanwhile
	}
	if err != nil || addr.Namespace != q.Namespace || q.Type != "" && addr.Type != q.Type {
		return nil, err
	}
	if i := h.table.peek(addr); i != nil {
		if err := i.durable(ctx); err != nil {
			return nil, err
		}
	}
	s, err := scheduledOf(row.Row)
	if err != nil {
		return nil, err
	}
	return []DeadSchedule{{Address: addr, ActorID: row.ID, Scheduled: s}}, nil
}

// RetrySchedule takes a schedule out of the dead list: it is due at once and has all
// its attempts again.
func (h *Host) RetrySchedule(ctx context.Context, target Target, id string) error {
	return h.manageSchedule(ctx, target, func(t *turn) error {
		if !validScheduleID(id) {
			return noSchedule(id)
		}
		s, _, err := t.schedule(id)
		if err != nil {
			return err
		}
		if !s.GetDead() {
			return noSchedule(id)
		}
		s.Dead, s.Attempts, s.Deaths = false, 0, 0
		return t.putSchedule(id, s, time.UnixMicro(ceilMicro(time.Now())))
	})
}

// DropSchedule gives up a schedule, in the dead list or not.
func (h *Host) DropSchedule(ctx context.Context, target Target, id string) error {
	return h.manageSchedule(ctx, target, func(t *turn) error {
		found, err := t.dropSchedule(id)
		if err == nil && !found {
			err = noSchedule(id)
		}
		return err
	})
}

func noSchedule(id string) error {
	return &refusalError{refusal(connect.CodeNotFound, "schedule_not_found", notExecuted, "the actor has no such schedule: %q", id)}
}

// manageSchedule runs a writing turn of an actor that exists.
func (h *Host) manageSchedule(ctx context.Context, target Target, run func(*turn) error) error {
	m, err := h.lifecycleMethod(target)
	if err != nil {
		return err
	}
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	if target.Address.Type == "" {
		record, err := h.store.LoadID(ctx, target.ID)
		if err == nil && h.types[record.Type] != nil {
			m = h.types[record.Type].methods[0]
		}
	}
	target.Resolve = Get
	call := &Call{Target: target, Method: m, Codec: noReply{}}
	if _, err := h.submit(ctx, call, nil, false, func(t *turn, _ *body) error { return run(t) }); err != nil {
		return wireError(ctx, h.log, m, err)
	}
	return nil
}
