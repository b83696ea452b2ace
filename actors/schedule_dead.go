// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
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

// DeadQuery selects schedules or messages in the dead list.
type DeadQuery struct {
	// Namespace is the tenant; required.
	Namespace string
	// Type selects the actors of one type; empty is every type.
	Type string
	// Actor, unless nil, selects one actor, which must be there.
	Actor *Target
	// AfterActor and AfterID are the last schedule of the page before, AfterActor
	// and AfterNumber the last message; zero is the beginning.
	AfterActor  store.ID
	AfterID     string
	AfterNumber uint64
	// Limit bounds their number; at least 1.
	Limit int
}

// DeadSchedules returns schedules of the dead list in the order of their actors'
// ids and their own. It wakes no actor.
func (h *Host) DeadSchedules(ctx context.Context, q DeadQuery) ([]DeadSchedule, error) {
	rows, err := h.deadRows(ctx, q, store.KindSchedule, firstScheduleID, []byte(q.AfterID))
	if err != nil {
		return nil, err
	}
	found := make([]DeadSchedule, len(rows))
	for n, row := range rows {
		s, err := scheduledOf(row.Row)
		if err != nil {
			return nil, wireError(ctx, h.log, h.methods[0], err)
		}
		found[n] = DeadSchedule{Address: row.addr, ActorID: row.ID, Scheduled: s}
	}
	return found, nil
}

// RetrySchedule takes a schedule out of the dead list: it is due at once and has all
// its attempts again.
func (h *Host) RetrySchedule(ctx context.Context, target Target, id string) error {
	return h.manageRows(ctx, target, func(t *turn) error {
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
	return h.manageRows(ctx, target, func(t *turn) error {
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
