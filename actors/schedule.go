// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	"google.golang.org/protobuf/proto"
)

// Bounds of an actor's schedules.
const (
	maxScheduleName   = 128
	minScheduleEvery  = time.Second
	scheduleYears     = 10
	defaultAttempts   = 12
	defaultBackoff    = 2 * time.Second
	defaultMaxBackoff = 10 * time.Minute
)

// Schedules are what the actor will do later: each is an action of its own, with
// its request, and the time when it runs. They wake an actor that sleeps and
// survive the process.
//
// What a turn does to them is part of the turn: it is durable with its reply, and a
// turn that fails has made, replaced and cancelled nothing. A read-only action may
// read them and not more.
//
// A schedule runs its action in a turn like any other, without a caller: see
// [ScheduleOf]. It may be an internal one. A run that fails is rolled back and
// tried again after a pause; its effects apply once, because the turn that has them
// is also the one that ends the schedule or moves it to its next time. What a run
// does outside the actor may happen more than once.
//
// The methods that make a schedule return its id. They fail with invalid_argument,
// and the turn goes on, when the procedure is not a writing action of the actor,
// when the request is not its request or is not valid, or when a limit is passed:
// an actor has at most 1,000 schedules, a request at most 64 KiB, and a time is at
// most 10 years away.
type Schedules struct{ body *body }

// Schedule returns the actor's schedules.
func (a *Actor[State, Event]) Schedule() Schedules { return Schedules{a.body} }

// After runs procedure, a constant of the actor's generated code, once after d. A
// d that is not positive is now.
func (s Schedules) After(d time.Duration, procedure string, request proto.Message, options ...ScheduleOption) (id string, err error) {
	return s.body.schedule("Schedule.After", procedure, request, options, func(now time.Time, _ *storagev1.Schedule) (time.Time, error) {
		return now.Add(max(d, 0)), nil
	})
}

// At runs procedure once at a time; one that has passed is now.
func (s Schedules) At(at time.Time, procedure string, request proto.Message, options ...ScheduleOption) (id string, err error) {
	return s.body.schedule("Schedule.At", procedure, request, options, func(now time.Time, _ *storagev1.Schedule) (time.Time, error) {
		if at.Before(now) {
			at = now
		}
		return at, nil
	})
}

// Every runs procedure again and again, d apart, the first time after d. Runs of
// one schedule never overlap: what becomes of the times that pass meanwhile, and of
// those that pass while no server runs, [OnMissed] says. D is at least a second.
func (s Schedules) Every(d time.Duration, procedure string, request proto.Message, options ...ScheduleOption) (id string, err error) {
	return s.body.schedule("Schedule.Every", procedure, request, options, func(now time.Time, made *storagev1.Schedule) (time.Time, error) {
		if d < minScheduleEvery {
			return now, Errorf(connect.CodeInvalidArgument, "bad_schedule_interval", "a schedule recurs every %s at most, and not every %s", minScheduleEvery, d)
		}
		d = d.Round(time.Microsecond)
		made.Recurrence = &storagev1.Schedule_Every{Every: d.Microseconds()}
		return now.Add(d), nil
	})
}

// Cron runs procedure at the times of a crontab(5) expression: minute, hour, day of
// the month, month and day of the week, or one of @hourly, @daily, @weekly, @monthly
// and @yearly. If both days are restricted, either counts. Zone is an IANA time
// zone; empty is UTC. As for overlap, see [Schedules.Every].
//
// Where a zone's clock jumps ahead, what would fall into the jump runs at its end,
// once; where it is put back, what falls into the hour that comes twice runs the
// first time only. An expression with * for the hour follows the time that passes
// instead: it does not run in a jump, and runs in both of those hours.
func (s Schedules) Cron(expression, zone, procedure string, request proto.Message, options ...ScheduleOption) (id string, err error) {
	return s.body.schedule("Schedule.Cron", procedure, request, options, func(now time.Time, made *storagev1.Schedule) (time.Time, error) {
		times, err := parseCron(expression, zone)
		if err != nil {
			return now, Errorf(connect.CodeInvalidArgument, "bad_schedule_cron", "%w", err)
		}
		next := times.next(now)
		if next.IsZero() {
			return now, Errorf(connect.CodeInvalidArgument, "bad_schedule_cron", "%q does not come in the next %d years", expression, cronYears)
		}
		made.Recurrence = &storagev1.Schedule_Cron{Cron: &storagev1.Cron{Expression: expression, Zone: zone}}
		return next, nil
	})
}

// schedule makes a schedule, or replaces the one of that name. First says when it
// falls due.
func (b *body) schedule(what, procedure string, request proto.Message, options []ScheduleOption, first func(time.Time, *storagev1.Schedule) (time.Time, error)) (string, error) {
	t := b.writing(what)
	encoded, err := b.scheduleRequest(procedure, request)
	if err != nil {
		return "", err
	}
	now := time.Now()
	made := &storagev1.Schedule{
		Serial:      randomSerial(),
		Procedure:   procedure,
		Request:     encoded,
		MadeAt:      now.UnixMicro(),
		CatchUp:     storagev1.CatchUp_CATCH_UP_ONE,
		MaxAttempts: defaultAttempts,
		Backoff:     defaultBackoff.Microseconds(),
		MaxBackoff:  defaultMaxBackoff.Microseconds(),
	}
	due, err := first(now, made)
	if err != nil {
		return "", err
	}
	if due.After(now.AddDate(scheduleYears, 0, 0)) {
		return "", Errorf(connect.CodeInvalidArgument, "schedule_too_far", "a schedule falls due within %d years, and not at %s", scheduleYears, due.UTC().Format(time.RFC3339))
	}
	made.Due = ceilMicro(due)
	id := rand.Text()
	for _, option := range options {
		name, err := option(made)
		if err != nil {
			return "", err
		}
		if name != "" {
			id, made.Named = name, true
		}
	}
	_, replaces, err := t.row(t, store.KindSchedule, []byte(id))
	if err != nil {
		return "", err
	}
	if !replaces {
		switch count, err := t.countSchedules(); {
		case err != nil:
			return "", err
		case count >= t.inst.typ.limits.rows.Schedules:
			return "", Errorf(connect.CodeInvalidArgument, "too_many_schedules", "an actor has at most %d schedules", t.inst.typ.limits.rows.Schedules)
		}
		if err := t.addSchedules(1); err != nil {
			return "", err
		}
	}
	return id, t.putSchedule(id, made, time.UnixMicro(made.GetDue()))
}

// scheduleRequest encodes a request after it has checked it.
func (b *body) scheduleRequest(procedure string, request proto.Message) ([]byte, error) {
	m := b.inst.typ.method(procedure)
	switch {
	case m == nil:
		return nil, Errorf(connect.CodeInvalidArgument, "bad_schedule_procedure", "%s has no procedure %q", b.inst.typ.name, procedure)
	case m.ReadOnly || m.Spec.StreamType != connect.StreamTypeUnary:
		return nil, Errorf(connect.CodeInvalidArgument, "bad_schedule_procedure", "a schedule runs a writing action, and %s is none", procedure)
	case request == nil || request.ProtoReflect().Descriptor().FullName() != m.input.Descriptor().FullName():
		return nil, Errorf(connect.CodeInvalidArgument, "bad_schedule_request", "%s takes a %s, not a %T", procedure, m.input.Descriptor().FullName(), request)
	}
	if err := b.inst.host.check(request); err != nil {
		return nil, Errorf(connect.CodeInvalidArgument, "bad_schedule_request", "%w", err)
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, Errorf(connect.CodeInvalidArgument, "bad_schedule_request", "%w", err)
	}
	if limit := b.inst.typ.limits.rows.ScheduleBytes; len(encoded) > limit {
		return nil, Errorf(connect.CodeInvalidArgument, "schedule_too_large", "the request has %d bytes and may have %d", len(encoded), limit)
	}
	return encoded, nil
}

// method returns the method of a procedure, nil if the type has none.
func (t *actorType) method(procedure string) *Method {
	for _, m := range t.methods {
		if m.Spec.Procedure == procedure {
			return m
		}
	}
	return nil
}

// Cancel gives up a schedule, by its id or name, also one in the dead list, and
// reports whether there was one. A run that has begun ends by itself; once the turn
// that cancels is durable, none begins.
func (s Schedules) Cancel(id string) (bool, error) {
	return s.body.writing("Schedule.Cancel").dropSchedule(id)
}

func (t *turn) dropSchedule(id string) (bool, error) {
	if !validScheduleID(id) {
		return false, nil
	}
	_, found, err := t.row(t, store.KindSchedule, []byte(id))
	if err != nil || !found {
		return false, err
	}
	t.deleteRow(store.KindSchedule, []byte(id))
	return true, t.addSchedules(-1)
}

// Get returns a schedule by its id or name, and whether there is one. The context
// is the turn's.
func (s Schedules) Get(ctx context.Context, id string) (Scheduled, bool, error) {
	t := s.body.reading(ctx, "Schedule.Get")
	if !validScheduleID(id) {
		return Scheduled{}, false, nil
	}
	row, found, err := t.row(ctx, store.KindSchedule, []byte(id))
	if err != nil || !found {
		return Scheduled{}, false, err
	}
	scheduled, err := scheduledOf(row)
	return scheduled, err == nil, err
}

// List returns all schedules in order of their ids, those of the dead list too.
func (s Schedules) List(ctx context.Context) ([]Scheduled, error) {
	rows, err := s.body.reading(ctx, "Schedule.List").scan(ctx, store.KindSchedule, store.Range{From: firstScheduleID})
	if err != nil {
		return nil, err
	}
	list := make([]Scheduled, len(rows))
	for n, row := range rows {
		if list[n], err = scheduledOf(row); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// The rows of an actor's schedules: one for each, under its id, and one that says
// how many there are, so that nobody has to read them all.
var (
	scheduleCount   = []byte{0}
	firstScheduleID = []byte{1}
)

func validScheduleID(id string) bool { return id >= string(firstScheduleID) && len(id) <= 1<<10 }

// countSchedules returns how many schedules the actor has.
func (t *turn) countSchedules() (int, error) {
	row, _, err := t.row(t, store.KindSchedule, scheduleCount)
	count, _ := binary.Uvarint(row.Value)
	return int(count), err
}

// addSchedules takes note of schedules that a turn makes, or gives up.
func (t *turn) addSchedules(more int) error {
	count, err := t.countSchedules()
	if err != nil {
		return err
	}
	count = max(count+more, 0)
	t.putRow(store.KindSchedule, store.Row{Key: scheduleCount, Value: binary.AppendUvarint(nil, uint64(count))})
	return nil
}

// putSchedule writes a schedule whose next attempt is due at a time.
func (t *turn) putSchedule(id string, s *storagev1.Schedule, due time.Time) error {
	value, err := proto.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode a schedule: %w", err)
	}
	t.putRow(store.KindSchedule, store.Row{Key: []byte(id), Value: value, Due: due})
	return nil
}

// schedule reads a schedule and when its next attempt is due; nil if it is not there.
func (t *turn) schedule(id string) (*storagev1.Schedule, time.Time, error) {
	row, found, err := t.row(t, store.KindSchedule, []byte(id))
	if err != nil || !found {
		return nil, time.Time{}, err
	}
	s, err := decodeSchedule(row.Value)
	if err != nil {
		return nil, time.Time{}, t.corrupt(err)
	}
	return s, row.Due, nil
}

func decodeSchedule(value []byte) (*storagev1.Schedule, error) {
	s := new(storagev1.Schedule)
	if err := proto.Unmarshal(value, s); err != nil {
		return nil, fmt.Errorf("decode a schedule: %w", err)
	}
	return s, nil
}

// ceilMicro rounds up, so that nothing runs early.
func ceilMicro(t time.Time) int64 {
	micro := t.UnixMicro()
	if t.Nanosecond()%1000 > 0 {
		micro++
	}
	return micro
}

func randomSerial() uint64 {
	var serial [8]byte
	_, _ = rand.Read(serial[:]) // never fails: see crypto/rand
	return binary.LittleEndian.Uint64(serial[:]) | 1
}

// checkScheduleName checks a name that an author chose.
func checkScheduleName(name string) error {
	if name == "" || len(name) > maxScheduleName || !utf8.ValidString(name) {
		return Errorf(connect.CodeInvalidArgument, "bad_schedule_name", "a schedule's name has 1 to %d bytes of UTF-8", maxScheduleName)
	}
	for _, r := range name {
		if unicode.IsControl(r) || r == failedMark {
			return Errorf(connect.CodeInvalidArgument, "bad_schedule_name", "a schedule's name has no control characters and no %q", failedMark)
		}
	}
	return nil
}
