// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	"github.com/troupe-dev/troupe/internal/seedbug"
	"google.golang.org/protobuf/proto"
)

const (
	// bookPatience is how long a turn that keeps book of an attempt may wait for
	// its actor: without it the attempt would count that has not begun.
	bookPatience = time.Hour
	// failedMark ends the id of a run that failed for good, after that of the
	// recurring schedule that it was of.
	failedMark = '#'
)

// attempt is one attempt at running a schedule that is due, in three turns at most.
// The first counts the attempt; it is durable before the second begins, and wakes
// nobody, so that a run that kills the process has been counted, and a wake too. The
// second runs the action and, in the same commit, ends the schedule or moves it to its
// next time. If that one fails, the third says when to try again, or takes the attempt
// back if the action has not begun.
//
// Each turn looks at the row again: a schedule that was cancelled or replaced
// meanwhile does not run.
type attempt struct {
	host *Host
	typ  *actorType
	addr store.Address
	id   store.ID
	key  string

	schedule *storagev1.Schedule // as the first turn left it
	method   *Method
	request  proto.Message
	begun    atomic.Bool         // the second turn has, which may be past its limit and still run
	again    bool                // the row has come due again, or another one in its place
	buried   *storagev1.Schedule // it has gone into the dead list; nil otherwise
	retried  *storagev1.Schedule // its first attempt has failed, and it has others; nil otherwise
	last     bool                // it is the last one if the process ends in it
}

// runSchedule is how rows of schedules are settled.
func (h *Host) runSchedule(ctx context.Context, addr store.Address, row store.DueRow) error {
	a := &attempt{host: h, typ: h.types[addr.Type], addr: addr, id: row.ID, key: string(row.Key)}
	known := h.crashes.get(addr)
	if err := known.refusal(time.Now()); err != nil {
		return err
	}
	if a.last = a.isLast(row.Value); a.last {
		if !h.lastTries.begin() {
			h.dispatchers[store.KindSchedule].expect(row.ID.Shard(), time.Now().Add(lastTryPause))
			return nil
		}
		defer h.lastTries.end()
	}
	if err := a.turn(ctx, a.typ.methods[0], nil, true, a.claim); err != nil {
		return ignoreGone(err)
	}
	a.report()
	if a.method == nil {
		return a.outcome() // nothing to run now
	}
	failed := a.turn(ctx, a.method, a.request, false, a.perform)
	if failed == nil {
		return a.outcome()
	}
	if !a.begun.Load() {
		return ignoreGone(errors.Join(failed, a.turn(ctx, a.method, nil, true, a.takeBack)))
	}
	err := a.turn(ctx, a.method, nil, true, func(t *turn, _ *body) error { return a.fail(t, failed) })
	if err == nil {
		a.report()
	}
	return ignoreGone(err)
}

// isLast reports whether the attempt is the last one if the process ends in it. A row
// that does not decode is for the turn to find out.
func (a *attempt) isLast(value []byte) bool {
	s := new(storagev1.Schedule)
	if proto.Unmarshal(value, s) != nil {
		return false
	}
	return isLast(s.GetDeaths(), s.GetClaimedBy() != 0 && s.GetClaimedBy() != a.host.process)
}

// report tells the log of a run that has gone into the dead list, and of the first
// attempt that has failed.
func (a *attempt) report() {
	switch {
	case a.buried != nil:
		a.host.logger(a.addr).Warn("a run of a schedule has failed for good and is in the dead list",
			slog.String("schedule", a.key), slog.Int("attempts", int(a.buried.GetAttempts())), slog.String("error", a.buried.GetLastError()))
	case a.retried != nil:
		a.host.logger(a.addr).Info("a run of a schedule has failed and is tried again",
			slog.String("schedule", a.key), slog.String("procedure", a.retried.GetProcedure()), slog.String("error", a.retried.GetLastError()))
	}
}

func (a *attempt) outcome() error {
	if a.again {
		return errDueAgain
	}
	return nil
}

// turn runs a writing turn of the actor, without a caller. One that is asleep may stay
// so if the turn says it.
func (a *attempt) turn(ctx context.Context, m *Method, request proto.Message, asleep bool, run func(*turn, *body) error) error {
	call := &Call{
		Target:  Target{Address: store.Address{Namespace: a.addr.Namespace}, ID: a.id, Resolve: Get},
		Method:  m,
		Request: request,
		Codec:   noReply{},
		ours:    true, // an actor that is busy is no failed attempt
	}
	_, err := a.host.submitTurn(ctx, call, func(t *turn) {
		if t.asleep = asleep; asleep { // keeps book, however long the actor is busy
			t.deadline = t.queuedAt.Add(bookPatience)
			if a.last && a.method == nil { // not counted yet
				t.deadline = t.queuedAt.Add(lastTryPatience)
			}
		}
	}, run)
	return err
}

// noReply is the codec of a call whose reply nobody reads.
type noReply struct{}

func (noReply) Name() string { return "none" }

func (noReply) Append(dst []byte, _ proto.Message) ([]byte, error) { return dst, nil }

// ignoreGone is err unless it says that the actor is no more, and with it all that
// was due.
func ignoreGone(err error) error {
	if refused, ok := errors.AsType[*refusalError](err); ok && refused.wire.Code() == connect.CodeNotFound {
		return nil
	}
	return err
}

// claim is the first turn.
func (a *attempt) claim(t *turn, _ *body) error {
	a.buried, a.retried = nil, nil // the turn may run again
	now := time.Now()
	s, due, err := t.schedule(a.key)
	if err != nil || s == nil || due.After(now) {
		a.again = s != nil // the clock may have gone back since it was due
		return err
	}
	if s.GetClaimedBy() != 0 && s.GetClaimedBy() != a.host.process {
		s.Deaths++
	}
	s.ClaimedBy = 0
	m := a.typ.method(s.GetProcedure())
	switch {
	case m == nil:
		return a.bury(t, a.key, s, "the actor has no "+s.GetProcedure()+" any more")
	case s.GetDeaths() >= maxDeaths:
		return a.bury(t, a.key, s, "the process died in each of several attempts")
	case s.GetAttempts() >= s.GetMaxAttempts():
		if s.GetLastError() == "" {
			s.LastError = "the process died in the attempt"
		}
		return a.giveUp(t, s, now)
	}
	request := m.NewRequest()
	if err := proto.Unmarshal(s.GetRequest(), request); err != nil {
		return a.bury(t, a.key, s, "the request is no "+string(m.input.Descriptor().FullName())+" any more")
	}
	times, err := recurrenceOf(s)
	if err != nil {
		return a.bury(t, a.key, s, "its times cannot be read any more: "+err.Error())
	}
	if times != nil && s.GetAttempts() == 0 {
		a.catchUp(s, times, now)
		if s.GetDue() > now.UnixMicro() {
			return t.putSchedule(a.key, s, time.UnixMicro(s.GetDue()))
		}
	}
	s.Attempts++
	s.ClaimedBy = a.host.process
	a.schedule, a.method, a.request = s, m, request
	if seedbug.On(7) {
		_, err := t.dropSchedule(a.key)
		return err
	}
	if seedbug.On(8) {
		return nil
	}
	return t.putSchedule(a.key, s, due)
}

// catchUp moves a recurring schedule that is late to the time that its policy wants
// a run for, and counts those that it leaves out: besides those that an attempt has
// left out which was taken back.
func (a *attempt) catchUp(s *storagev1.Schedule, times recurrence, now time.Time) {
	policy := s.GetCatchUp()
	if policy != storagev1.CatchUp_CATCH_UP_ALL && policy != storagev1.CatchUp_CATCH_UP_SKIP {
		return
	}
	p := passedBy(times, time.UnixMicro(s.GetDue()), now)
	run, missed := p.newest[0], p.count+1-len(p.newest)
	if policy == storagev1.CatchUp_CATCH_UP_SKIP {
		run, missed = p.newest[len(p.newest)-1], p.count
		if run.Before(a.host.startedAt) && !p.next.IsZero() {
			run, missed, s.Missed = p.next, 0, 0
		}
	}
	s.Due = run.UnixMicro()
	s.Missed += uint64(missed)
}

// perform is the second turn.
func (a *attempt) perform(t *turn, b *body) error {
	a.begun.Store(true)
	now := time.Now()
	s, due, err := t.schedule(a.key)
	if err != nil {
		return err
	}
	if seedbug.On(7) || seedbug.On(8) {
		s = a.schedule
	}
	if s == nil || s.GetSerial() != a.schedule.GetSerial() || s.GetAttempts() != a.schedule.GetAttempts() {
		a.again = s != nil
		return nil
	}
	run := &ScheduleRun{ID: a.key, Due: time.UnixMicro(s.GetDue()), Attempt: int(s.GetAttempts()), Missed: int(s.GetMissed())}
	if s.GetNamed() {
		run.Name = a.key
	}
	missed, err := a.advance(t, s, now)
	if err != nil {
		return err
	}
	run.Missed += missed
	t.scheduled = run
	if err := b.serve(t); err != nil {
		return err
	}
	// The action may have made a new schedule under this very key.
	over, written := t.rows[rowKey{store.KindSchedule, a.key}]
	a.again = written && !over.deleted && over.row.Due.Equal(due)
	return nil
}

// advance ends a schedule, or moves it to its next time and returns how many of its
// times the run that is over, or about to begin, stands for besides its own.
func (a *attempt) advance(t *turn, s *storagev1.Schedule, now time.Time) (int, error) {
	times, err := recurrenceOf(s)
	if err != nil {
		return 0, err
	}
	if times == nil {
		_, err := t.dropSchedule(a.key)
		return 0, err
	}
	var next time.Time
	missed := 0
	if due := time.UnixMicro(s.GetDue()); s.GetCatchUp() == storagev1.CatchUp_CATCH_UP_ALL {
		next = times.next(due)
	} else {
		p := passedBy(times, due, now)
		next, missed = p.next, p.count
	}
	if next.IsZero() { // a calendar that ends
		_, err := t.dropSchedule(a.key)
		return missed, err
	}
	s.Due, s.Attempts, s.Deaths, s.ClaimedBy, s.Missed = next.UnixMicro(), 0, 0, 0, 0
	s.LastError, s.FailedAt = "", 0
	return missed, t.putSchedule(a.key, s, next)
}

// takeBack is the third turn if the second one has not begun: the actor did not wake,
// or had no room.
func (a *attempt) takeBack(t *turn, _ *body) error {
	s, due, err := t.schedule(a.key)
	if err != nil || s == nil || s.GetSerial() != a.schedule.GetSerial() || s.GetAttempts() != a.schedule.GetAttempts() {
		return err
	}
	s.ClaimedBy = 0
	s.Attempts -= min(1, s.GetAttempts())
	return t.putSchedule(a.key, s, due)
}

// fail is the third turn.
func (a *attempt) fail(t *turn, failed error) error {
	a.buried, a.retried = nil, nil
	now := time.Now()
	s, _, err := t.schedule(a.key)
	if seedbug.On(8) {
		s = a.schedule
	}
	if err != nil || s == nil || s.GetSerial() != a.schedule.GetSerial() || s.GetAttempts() != a.schedule.GetAttempts() {
		return err
	}
	s.ClaimedBy, s.FailedAt = 0, now.UnixMicro()
	if authored, ok := errors.AsType[*Error](failed); ok {
		s.LastError = failureText(authored.Error())
	} else {
		s.LastError = failureText(wireError(t, a.host.log, a.method, failed).Error())
	}
	if s.GetAttempts() >= s.GetMaxAttempts() {
		return a.giveUp(t, s, now)
	}
	if s.GetAttempts() == 1 {
		a.retried = s
	}
	pause := retryPause(s.GetAttempts(), micros(s.GetBackoff()), micros(s.GetMaxBackoff()))
	return t.putSchedule(a.key, s, time.UnixMicro(ceilMicro(now.Add(pause))))
}

// giveUp puts a run that has had all its attempts into the dead list. A recurring
// schedule goes on; of its runs that failed, the newest is kept.
func (a *attempt) giveUp(t *turn, s *storagev1.Schedule, now time.Time) error {
	if s.GetRecurrence() == nil {
		return a.bury(t, a.key, s, s.GetLastError())
	}
	run, _ := proto.Clone(s).(*storagev1.Schedule)
	run.Serial, run.Named, run.Recurrence, run.Missed = randomSerial(), false, nil, 0
	id := a.key + string(failedMark)
	if _, err := t.dropSchedule(id); err != nil {
		return err
	}
	if err := t.addSchedules(1); err != nil {
		return err
	}
	if err := a.bury(t, id, run, s.GetLastError()); err != nil {
		return err
	}
	_, err := a.advance(t, s, now)
	return err
}

// bury puts a schedule into the dead list.
func (a *attempt) bury(t *turn, id string, s *storagev1.Schedule, why string) error {
	a.buried = s
	if s.Dead, s.LastError = true, why; s.GetFailedAt() == 0 {
		s.FailedAt = time.Now().UnixMicro()
	}
	return t.putSchedule(id, s, shelved)
}
