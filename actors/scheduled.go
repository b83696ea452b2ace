// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
)

// Scheduled describes a schedule.
type Scheduled struct {
	// ID names the schedule among the actor's.
	ID string
	// Name is the name that the author gave it, or empty. A schedule with a name
	// has it for its id.
	Name string
	// Procedure is the action that runs.
	Procedure string
	// Status says what the schedule waits for.
	Status ScheduleStatus
	// MadeAt is when it was made.
	MadeAt time.Time
	// Due is the time that its next run is for, or for one in the dead list the
	// time that the run was for which failed.
	Due time.Time
	// NextAttempt is when that run is tried next; zero in the dead list.
	NextAttempt time.Time
	// Every is the time between runs; 0 unless made by [Schedules.Every].
	Every time.Duration
	// Cron and Zone are what [Schedules.Cron] was given; empty otherwise.
	Cron, Zone string
	// Attempts is how many attempts at that run have begun.
	Attempts int
	// LastError is why the newest attempt that failed did, as a caller would see
	// it; empty if none has.
	LastError string
	// FailedAt is when it did.
	FailedAt time.Time
}

// ScheduleStatus says what a schedule waits for.
type ScheduleStatus uint8

const (
	// SchedulePending waits for its time.
	SchedulePending ScheduleStatus = iota + 1
	// ScheduleRetrying has begun: it runs now, or waits for its next attempt.
	ScheduleRetrying
	// ScheduleDead is in the dead list: it runs no more unless it is retried.
	ScheduleDead
)

func scheduledOf(row store.Row) (Scheduled, error) {
	s, err := decodeSchedule(row.Value)
	if err != nil {
		return Scheduled{}, err
	}
	d := Scheduled{
		ID:        string(row.Key),
		Procedure: s.GetProcedure(),
		Status:    SchedulePending,
		MadeAt:    time.UnixMicro(s.GetMadeAt()),
		Due:       time.UnixMicro(s.GetDue()),
		Every:     micros(s.GetEvery()),
		Cron:      s.GetCron().GetExpression(),
		Zone:      s.GetCron().GetZone(),
		Attempts:  int(s.GetAttempts()),
		LastError: s.GetLastError(),
	}
	if s.GetNamed() {
		d.Name = d.ID
	}
	if s.GetFailedAt() != 0 {
		d.FailedAt = time.UnixMicro(s.GetFailedAt())
	}
	switch {
	case s.GetDead():
		d.Status = ScheduleDead // and its row is shelved
	case s.GetAttempts() > 0:
		d.Status = ScheduleRetrying
		fallthrough
	default:
		d.NextAttempt = row.Due
	}
	return d, nil
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// ScheduleOption is an option of a schedule.
type ScheduleOption func(*storagev1.Schedule) (name string, err error)

// Name names the schedule, and its id is that name. An older schedule of the same
// name, in whatever status, is replaced: once the turn is durable, it does not run
// any more. A name has 1 to 128 bytes, without control characters and #.
func Name(name string) ScheduleOption {
	return func(*storagev1.Schedule) (string, error) { return name, checkScheduleName(name) }
}

// MaxAttempts is how often a run is tried before it goes to the dead list. Default
// 12, which takes some 37 minutes; at least 1 and at most 100.
func MaxAttempts(n int) ScheduleOption {
	return func(s *storagev1.Schedule) (string, error) {
		if n < 1 || n > 100 {
			return "", Errorf(connect.CodeInvalidArgument, "bad_schedule_attempts", "MaxAttempts(%d) must be 1 to 100", n)
		}
		s.MaxAttempts = uint32(n)
		return "", nil
	}
}

// Backoff is the pause after a failed attempt: first after the first one, twice as
// long after each further one, and never longer than longest; each is made up to a
// quarter longer or shorter by chance. Default 2 s and 10 min. First is at least a
// millisecond and longest at most a day.
func Backoff(first, longest time.Duration) ScheduleOption {
	return func(s *storagev1.Schedule) (string, error) {
		if first < time.Millisecond || longest < first || longest > 24*time.Hour {
			return "", Errorf(connect.CodeInvalidArgument, "bad_schedule_backoff", "Backoff(%s, %s) must be a millisecond at least and a day at most", first, longest)
		}
		s.Backoff, s.MaxBackoff = first.Microseconds(), longest.Microseconds()
		return "", nil
	}
}

// MissedPolicy says what becomes of the times of a recurring schedule that pass without a
// run, while the server is down or while an older run takes long.
type MissedPolicy uint8

const (
	// RunOnce has one run stand for all of them: [ScheduleRun.Missed] counts
	// them. The default.
	RunOnce MissedPolicy = iota
	// RunAll gives each its run, one after the other; beyond the newest 100 they
	// are counted only.
	RunAll
	// RunNone leaves out those that fell due while the server was down, and those
	// that another one has followed.
	RunNone
)

// OnMissed chooses what becomes of times that pass without a run.
func OnMissed(policy MissedPolicy) ScheduleOption {
	return func(s *storagev1.Schedule) (string, error) {
		if policy > RunNone {
			return "", Errorf(connect.CodeInvalidArgument, "bad_schedule_policy", "OnMissed(%d) is no policy", policy)
		}
		s.CatchUp = storagev1.CatchUp(policy) + storagev1.CatchUp_CATCH_UP_ONE
		return "", nil
	}
}

// ScheduleRun is what an action can know of the schedule that runs it.
type ScheduleRun struct {
	// ID and Name are the schedule's; see [Scheduled].
	ID, Name string
	// Due is the time that the run is for.
	Due time.Time
	// Attempt counts the attempts at this run, from 1.
	Attempt int
	// Missed is how many further times of a recurring schedule the run stands
	// for. It counts up to a million.
	Missed int
}

// ScheduleOf returns the schedule that runs the action, and whether one does.
func ScheduleOf(ctx context.Context) (ScheduleRun, bool) {
	if t := turnOf(ctx); t != nil && t.scheduled != nil {
		return *t.scheduled, true
	}
	return ScheduleRun{}, false
}
