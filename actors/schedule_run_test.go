// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	"google.golang.org/protobuf/proto"
)

// schedule returns one of an actor's schedules.
func (p *planner) schedule(key, id string) (got actors.Scheduled, found bool) {
	p.tb.Helper()
	p.do(key, func(ctx context.Context, c *counter) (err error) {
		got, found, err = c.Schedule().Get(ctx, id)
		return err
	})
	return got, found
}

func (p *planner) target(key string) actors.Target {
	target := p.to(counterv1connect.CounterGetProcedure, key, nil).Target
	target.Resolve = actors.Get
	return target
}

// dead returns the dead list of the namespace.
func (p *planner) dead() []actors.DeadSchedule {
	p.tb.Helper()
	found, err := p.DeadSchedules(context.Background(), actors.DeadQuery{Namespace: "default", Limit: 1000})
	if err != nil {
		p.tb.Fatal(err)
	}
	return found
}

// TestP27_EffectsApplyOnceOverCrashes replaces the server at random moments of a
// run, and finds each effect once in the end.
func TestP27_EffectsApplyOnceOverCrashes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const schedules = 40
		random := rand.New(rand.NewPCG(27, 27))
		d := new(planDiary)
		s := memory.New(memory.Options{})
		p := newPlanner(t, s, d)
		for n := range schedules {
			p.do("a", after(time.Duration(n)*time.Second, actors.MaxAttempts(100)))
		}
		d.acts(func(_ context.Context, _ *counter, run actors.ScheduleRun) error {
			pass(time.Duration((run.Due.Unix()*389+int64(run.Attempt)*211)%900) * time.Millisecond)
			return nil
		})
		for range 50 {
			pass(time.Duration(random.IntN(1500)) * time.Millisecond)
			s = s.Reopen() // from here on the old server stores nothing
			p = newPlanner(t, s, d)
		}
		pass(10 * time.Minute)
		synctest.Wait()
		if runs := len(d.take()); runs <= schedules {
			t.Errorf("%d runs: no crash has met one", runs)
		}
		if dead := p.dead(); len(dead) > 0 {
			t.Logf("dead: %d", len(dead))
			p.mustCount("a", schedules-int64(len(dead)))
			return
		}
		p.mustCount("a", schedules)
	})
}

// TestP27_EffectsApplyOnceOverFaults has the commits around a run fail, before they
// store anything and after they have stored all.
func TestP27_EffectsApplyOnceOverFaults(t *testing.T) {
	t.Parallel()
	for commit := range 6 {
		for name, fault := range map[string]func(*storetest.Faulty){
			"nothing is stored":              func(f *storetest.Faulty) { f.FailCommit(errors.New("out of order")) },
			"all is, and the answer is lost": func(f *storetest.Faulty) { f.FailCommitAfter(store.ErrUnknown) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					d := new(planDiary)
					faulty := storetest.NewFaulty(memory.New(memory.Options{}))
					p := newPlanner(t, faulty, d)
					p.do("a", after(time.Second))
					p.do("a", after(2*time.Second, actors.Name("again")))
					for range commit {
						faulty.FailCommit(nil)
					}
					fault(faulty)
					pass(time.Minute)
					synctest.Wait()
					if runs := len(d.take()); runs < 2 || runs > 3 {
						t.Errorf("%d runs", runs)
					}
					p.mustCount("a", 2)
				})
			})
		}
	}
}

// TestP27_AStoreThatFailsForAWhile refuses to read and to write.
func TestP27_AStoreThatFailsForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(planDiary)
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		p := newPlanner(t, faulty, d, actors.SleepAfter(time.Second))
		p.do("a", after(5*time.Second))
		pass(4 * time.Second)
		for range 5 {
			faulty.FailRead(errors.New("out of order"))
			faulty.FailCommit(errors.New("out of order"))
		}
		pass(time.Minute)
		synctest.Wait()
		d.take()
		p.mustCount("a", 1)
	})
}

func TestP27_ARunMayChangeItsOwnSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, d := time.Now(), new(planDiary)
		p := newPlanner(t, nil, d)
		left := 3
		d.acts(func(ctx context.Context, c *counter, run actors.ScheduleRun) error {
			switch left--; {
			case run.Name == "every" && left == 0:
				_, err := c.Schedule().Cancel("every")
				return err
			case run.Name == "now" && left >= 0:
				return after(0, actors.Name("now"))(ctx, c)
			}
			return nil
		})
		p.do("a", after(0, actors.Name("now")))
		pass(time.Minute)
		synctest.Wait()
		wantTimes(t, start, d.take(), 0, 0, 0, 0)
		left, start = 3, time.Now()
		p.do("a", func(_ context.Context, c *counter) error {
			_, err := c.Schedule().Every(time.Second, increment, by(1), actors.Name("every"))
			return err
		})
		pass(time.Minute)
		synctest.Wait()
		wantTimes(t, start, d.take(), time.Second, 2*time.Second, 3*time.Second)
	})
}

// TestP29_AFailingRunIsRetriedAndDies holds the pauses between the attempts, that the
// log tells of their end, and what can be done about a schedule in the dead list.
func TestP29_AFailingRunIsRetriedAndDies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logs := new(logBuffer)
		start, d := time.Now(), &planDiary{log: slog.New(slog.NewTextHandler(logs, nil))}
		s := memory.New(memory.Options{})
		p := newPlanner(t, s, d)
		var failure error = actors.Errorf(connect.CodeFailedPrecondition, "not_yet", "come back later")
		d.acts(func(context.Context, *counter, actors.ScheduleRun) error { return failure })
		p.do("a", after(time.Second, actors.Name("job")))
		pass(10 * time.Second)
		if got, _ := p.schedule("a", "job"); got.Status != actors.ScheduleRetrying || got.Attempts < 2 || !strings.Contains(got.LastError, "not_yet") {
			t.Errorf("meanwhile it is %+v", got)
		}
		const told = "a run of a schedule has failed for good"
		const tried = "a run of a schedule has failed and is tried again"
		if said := logs.String(); strings.Contains(said, told) || strings.Count(said, tried) != 1 || !strings.Contains(said, "not_yet") {
			t.Errorf("the log says %s", said)
		}
		pass(2 * time.Hour)
		synctest.Wait()
		runs := d.take()
		if len(runs) != 12 {
			t.Fatalf("%d attempts, want 12", len(runs))
		}
		pause := 2 * time.Second
		for n, run := range runs {
			if run.Attempt != n+1 || !run.Due.Equal(start.Add(time.Second)) {
				t.Errorf("attempt %d is %+v", n+1, run.ScheduleRun)
			}
			if n == 0 {
				continue
			}
			got := run.at.Sub(runs[n-1].at)
			if got < pause*3/4 || got > pause*5/4+time.Microsecond {
				t.Errorf("the pause before attempt %d is %s, want %s and a quarter more or less", n+1, got, pause)
			}
			pause = min(2*pause, 10*time.Minute)
		}
		p.mustCount("a", 0)
		got, found := p.schedule("a", "job")
		if !found || got.Status != actors.ScheduleDead || got.Attempts != 12 || !got.NextAttempt.IsZero() || !strings.Contains(got.LastError, "come back later") {
			t.Fatalf("the dead schedule is %+v", got)
		}
		if said := logs.String(); strings.Count(said, told) != 1 || !strings.Contains(said, "key=a schedule=job attempts=12 error=") {
			t.Errorf("the log says %s", said)
		}

		p = newPlanner(t, s.Reopen(), d) // the list survives
		list := p.dead()
		if len(list) != 1 || list[0].ID != "job" || list[0].Key != "a" || list[0].Attempts != 12 {
			t.Fatalf("the dead list is %+v", list)
		}
		target := p.target("a")
		if one, err := p.DeadSchedules(t.Context(), actors.DeadQuery{Namespace: "default", Actor: &target, Limit: 10}); len(one) != 1 || err != nil {
			t.Fatalf("the dead list of the actor is %+v, %v", one, err)
		}
		failure = nil
		again := time.Now()
		if err := p.RetrySchedule(t.Context(), target, "job"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantTimes(t, again, d.take(), 0)
		p.mustCount("a", 1)
		if list := p.dead(); len(list) != 0 {
			t.Fatalf("the dead list is %+v", list)
		}
		wantFailure(t, p.RetrySchedule(t.Context(), target, "job"), failureNotFound)
	})
}

var failureNotFound = failure{connect.CodeNotFound, "schedule_not_found", notExecuted}

func TestP29_ADeadScheduleCanBeDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(planDiary)
		p := newPlanner(t, nil, d)
		d.acts(func(context.Context, *counter, actors.ScheduleRun) error { panic("a run that panics") })
		for _, key := range []string{"a", "b", "c"} {
			p.do(key, after(time.Second, actors.MaxAttempts(1), actors.Name("job")))
		}
		pass(time.Minute)
		synctest.Wait()
		list := p.dead()
		if len(list) != 3 || !strings.Contains(list[0].LastError, "internal error") || strings.Contains(list[0].LastError, "panics") {
			t.Fatalf("the dead list is %+v", list)
		}
		page, err := p.DeadSchedules(t.Context(), actors.DeadQuery{Namespace: "default", AfterActor: list[0].ActorID, AfterID: list[0].ID, Limit: 1})
		if err != nil || len(page) != 1 || page[0].ActorID != list[1].ActorID {
			t.Fatalf("the second page is %+v, %v", page, err)
		}
		for _, q := range []actors.DeadQuery{{Namespace: "other", Limit: 9}, {Namespace: "default", Type: "another.Type", Limit: 9}} {
			if found, err := p.DeadSchedules(t.Context(), q); len(found) > 0 || err != nil {
				t.Errorf("%+v finds %v, %v", q, found, err)
			}
		}
		if err := p.DropSchedule(t.Context(), p.target("a"), "job"); err != nil {
			t.Fatal(err)
		}
		wantFailure(t, p.DropSchedule(t.Context(), p.target("a"), "job"), failureNotFound)
		wantFailure(t, p.DropSchedule(t.Context(), p.target("nobody"), "job"), failure{connect.CodeNotFound, "actor_not_found", notExecuted})
		p.do("b", func(_ context.Context, c *counter) error { _, err := c.Schedule().Cancel("job"); return err })
		if _, err := p.Destroy(t.Context(), p.target("c")); err != nil {
			t.Fatal(err)
		}
		if list := p.dead(); len(list) != 0 {
			t.Fatalf("the dead list is %+v", list)
		}
	})
}

// TestP29_ARecurringScheduleOutlivesARunThatFails keeps the newest failed run in the
// dead list and goes on.
func TestP29_ARecurringScheduleOutlivesARunThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, d := time.Now(), new(planDiary)
		p := newPlanner(t, nil, d)
		fails := true
		d.acts(func(context.Context, *counter, actors.ScheduleRun) error {
			if fails {
				return errors.New("out of order")
			}
			return nil
		})
		p.do("a", func(_ context.Context, c *counter) error {
			_, err := c.Schedule().Every(time.Minute, increment, by(1), actors.Name("tick"), actors.MaxAttempts(2), actors.Backoff(time.Second, time.Second))
			return err
		})
		pass(2*time.Minute + 30*time.Second)
		synctest.Wait()
		if runs := d.take(); len(runs) != 4 {
			t.Fatalf("%d attempts at two runs, want 4: %v", len(runs), times(start, runs))
		}
		list := p.dead()
		if len(list) != 1 || list[0].ID != "tick#" || !list[0].Due.Equal(start.Add(2*time.Minute)) {
			t.Fatalf("the dead list is %+v", list)
		}
		fails = false
		if err := p.RetrySchedule(t.Context(), p.target("a"), "tick#"); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		synctest.Wait()
		wantTimes(t, start, d.take(), 2*time.Minute+30*time.Second, 3*time.Minute)
		if list := p.dead(); len(list) != 0 {
			t.Fatalf("the dead list is %+v", list)
		}
	})
}

// TestP30_RunsThatKillTheProcess has each run end with the server.
func TestP30_RunsThatKillTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(planDiary)
		s := memory.New(memory.Options{})
		p := newPlanner(t, s, d)
		crash := make(chan struct{}, 10)
		d.acts(func(context.Context, *counter, actors.ScheduleRun) error {
			s = s.Reopen() // whatever this server does from here on is not stored
			crash <- struct{}{}
			return nil
		})
		p.do("a", after(time.Second, actors.Name("poison")))
		for n := range 3 {
			<-crash
			p = newPlanner(t, s, d)
			if n < 2 {
				continue
			}
			pass(time.Hour)
			synctest.Wait()
		}
		runs := d.take()
		if len(runs) != 3 || runs[2].Attempt != 3 {
			t.Fatalf("the runs are %+v, want 3 attempts", runs)
		}
		if list := p.dead(); len(list) != 1 || list[0].ID != "poison" || list[0].Attempts != 3 || !strings.Contains(list[0].LastError, "died") {
			t.Fatalf("the dead list is %+v", list)
		}
		p.mustCount("a", 0)
		d.acts(nil)
		if err := p.RetrySchedule(t.Context(), p.target("a"), "poison"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.mustCount("a", 1)
	})
}

// TestP29_AProcedureThatIsGone starts a server over schedules that another version
// of its program has made.
func TestP29_AProcedureThatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(planDiary)
		s := memory.New(memory.Options{})
		p := newPlanner(t, s, d)
		p.mustAdd("a", 0)
		p.stop()
		record, err := s.Load(t.Context(), p.target("a").Address)
		if err != nil {
			t.Fatal(err)
		}
		write := &store.Write{Op: store.OpUpdate, Expect: record.Revision, Record: record}
		write.Record.Revision++
		for id, made := range map[string]*storagev1.Schedule{
			"gone":    {Serial: 1, Procedure: "/counter.v1.Counter/Gone", MaxAttempts: 12},
			"garbled": {Serial: 1, Procedure: increment, Request: []byte{0xff}, MaxAttempts: 12},
			"cron":    {Serial: 1, Procedure: increment, MaxAttempts: 2, Recurrence: &storagev1.Schedule_Cron{Cron: &storagev1.Cron{Expression: "0 * * * *", Zone: "Atlantis"}}},
		} {
			value, err := proto.Marshal(made)
			if err != nil {
				t.Fatal(err)
			}
			write.Rows = append(write.Rows, store.RowWrite{Kind: store.KindSchedule, Row: store.Row{Key: []byte(id), Value: value, Due: time.Now()}})
		}
		if s.Commit(t.Context(), []*store.Write{write}).Wait(); write.Err != nil {
			t.Fatal(write.Err)
		}
		p = newPlanner(t, s.Reopen(), d)
		pass(time.Minute)
		synctest.Wait()
		if runs := d.take(); len(runs) > 0 {
			t.Errorf("they ran: %+v", runs)
		}
		if list := p.dead(); len(list) != 3 {
			t.Errorf("the dead list is %+v", list)
		}
	})
}

// TestP27_AFullMailboxIsNoFailedAttempt has a schedule fall due while calls fill the
// actor's mailbox: it waits behind them, and runs at its first attempt.
func TestP27_AFullMailboxIsNoFailedAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(planDiary)
		p := newPlanner(t, nil, d, actors.MailboxSize(1))
		p.do("a", after(10*time.Second))
		gate := make(chan struct{})
		p.get = func(context.Context, *counter) error { <-gate; return nil }
		pass(9 * time.Second)
		go func() { _, _ = p.count(t.Context(), "a") }()
		synctest.Wait()
		go func() { _, _ = p.add(t.Context(), "a", 0) }()
		pass(1100 * time.Millisecond)
		close(gate)
		synctest.Wait()
		if runs := d.take(); len(runs) != 1 || runs[0].Attempt != 1 {
			t.Errorf("runs when there is room: %+v", runs)
		}
	})
}
