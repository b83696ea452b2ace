// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/encoding/protowire"
)

// increment is what most schedules of the tests run.
const increment = counterv1connect.CounterIncrementProcedure

func by(amount int64) *counterv1.IncrementRequest { return &counterv1.IncrementRequest{Amount: amount} }

// planner is a kit whose actors make schedules when they are told so, and which
// remembers the runs.
type planner struct {
	*kit
	diary *planDiary
}

// planDiary outlives the hosts of a test.
type planDiary struct {
	log *slog.Logger // where the hosts write, or nil

	mu    sync.Mutex
	runs  []ran
	act   func(context.Context, *counter, actors.ScheduleRun) error // what a run does, or nil
	plan  func(context.Context, *counter) error                     // what a call does, or nil
	plans int                                                       // made so far
}

type ran struct {
	actors.ScheduleRun
	key string
	at  time.Time
}

func newPlanner(tb testing.TB, s store.Store, d *planDiary, options ...actors.Option) *planner {
	tb.Helper()
	k := &kit{store: s}
	if d.log != nil {
		k.configure = func(cfg *actors.Config) { cfg.Logger = d.log }
	}
	k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error {
		run, scheduled := actors.ScheduleOf(ctx)
		d.mu.Lock()
		plan, act := d.plan, d.act
		if scheduled {
			d.runs = append(d.runs, ran{run, c.Key()[0], time.Now()})
		}
		d.mu.Unlock()
		switch {
		case scheduled && act != nil:
			return act(ctx, c, run)
		case !scheduled && plan != nil:
			return plan(ctx, c)
		}
		return nil
	}
	return &planner{kit: startKit(tb, k, options...), diary: d}
}

// do runs code in a turn of an actor.
func (p *planner) do(key string, plan func(context.Context, *counter) error) {
	p.tb.Helper()
	if err := p.try(key, plan); err != nil {
		p.tb.Fatal(err)
	}
}

func (p *planner) try(key string, plan func(context.Context, *counter) error) error {
	p.diary.mu.Lock()
	p.diary.plan = plan
	p.diary.plans++
	mine := p.diary.plans
	p.diary.mu.Unlock()
	_, err := p.add(context.Background(), key, 0)
	p.diary.mu.Lock()
	if p.diary.plans == mine { // and nobody else's plan waits for its turn
		p.diary.plan = nil
	}
	p.diary.mu.Unlock()
	return err
}

// acts says what runs do from here on.
func (d *planDiary) acts(act func(context.Context, *counter, actors.ScheduleRun) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.act = act
}

// of returns the runs of one actor.
func (d *planDiary) of(key string) (runs []ran) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, run := range d.runs {
		if run.key == key {
			runs = append(runs, run)
		}
	}
	return runs
}

// take returns the runs since it was last called.
func (d *planDiary) take() []ran {
	d.mu.Lock()
	defer d.mu.Unlock()
	runs := d.runs
	d.runs = nil
	return runs
}

// times returns when runs began, counted from a time.
func times(from time.Time, runs []ran) []time.Duration {
	var list []time.Duration
	for _, run := range runs {
		list = append(list, run.at.Sub(from))
	}
	return list
}

func wantTimes(tb testing.TB, from time.Time, runs []ran, want ...time.Duration) {
	tb.Helper()
	if got := times(from, runs); !slices.Equal(got, want) {
		tb.Fatalf("the runs were at %v, want %v", got, want)
	}
}

func TestP28_NeverEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, d := time.Now(), new(planDiary)
		p := newPlanner(t, nil, d)
		p.do("a", func(_ context.Context, c *counter) error {
			for _, after := range []time.Duration{3 * time.Second, time.Second + 3*time.Nanosecond, 0, time.Hour, -time.Second} {
				if _, err := c.Schedule().After(after, increment, by(1)); err != nil {
					return err
				}
			}
			_, err := c.Schedule().At(start.Add(2*time.Minute), increment, by(1))
			return err
		})
		pass(2 * time.Hour)
		synctest.Wait()
		wantTimes(t, start, d.take(), 0, 0, time.Second+time.Microsecond, 3*time.Second, 2*time.Minute, time.Hour)
		p.mustCount("a", 6)
	})
}

func TestP26_DurableWithTheReply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, d := time.Now(), new(planDiary)
		s := memory.New(memory.Options{})
		newPlanner(t, s, d).do("a", func(_ context.Context, c *counter) error {
			_, err := c.Schedule().After(time.Second, increment, by(1))
			return err
		})
		p := newPlanner(t, s.Reopen(), d)
		pass(time.Minute)
		synctest.Wait()
		wantTimes(t, start, d.take(), time.Second)
		p.mustCount("a", 1)
	})
}

// after makes a schedule in a turn.
func after(d time.Duration, options ...actors.ScheduleOption) func(context.Context, *counter) error {
	return func(_ context.Context, c *counter) error {
		_, err := c.Schedule().After(d, increment, by(1), options...)
		return err
	}
}

func TestP26_ATurnThatFailsHasMadeAndCancelledNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, d := time.Now(), new(planDiary)
		p := newPlanner(t, nil, d)
		p.do("a", after(time.Minute, actors.Name("kept")))
		refused := actors.Errorf(connect.CodeAborted, "changed_mind", "no")
		err := p.try("a", func(ctx context.Context, c *counter) error {
			if err := after(time.Second)(ctx, c); err != nil {
				return err
			}
			if err := after(time.Second, actors.Name("kept"))(ctx, c); err != nil {
				return err
			}
			if found, err := c.Schedule().Cancel("kept"); !found || err != nil {
				t.Errorf("Cancel says %v, %v", found, err)
			}
			if list, err := c.Schedule().List(ctx); len(list) != 1 || err != nil {
				t.Errorf("the turn sees %v, %v", list, err)
			}
			return refused
		})
		wantFailure(t, err, failure{connect.CodeAborted, "changed_mind", notExecuted})
		pass(time.Hour)
		synctest.Wait()
		wantTimes(t, start, d.take(), time.Minute)
	})
}

func TestP26_ReplacedByName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, d := time.Now(), new(planDiary)
		p := newPlanner(t, nil, d)
		p.do("a", after(time.Minute, actors.Name("tick")))
		p.do("a", after(2*time.Minute, actors.Name("tick")))
		p.do("a", func(ctx context.Context, c *counter) error {
			got, found, err := c.Schedule().Get(ctx, "tick")
			if !found || err != nil || got.ID != "tick" || got.Name != "tick" || !got.NextAttempt.Equal(start.Add(2*time.Minute)) || got.Status != actors.SchedulePending {
				t.Errorf("Get says %+v, %v, %v", got, found, err)
			}
			return nil
		})
		pass(time.Hour)
		synctest.Wait()
		wantTimes(t, start, d.take(), 2*time.Minute)
		p.do("a", func(ctx context.Context, c *counter) error {
			if list, err := c.Schedule().List(ctx); len(list) != 0 || err != nil {
				t.Errorf("List says %v, %v", list, err)
			}
			return nil
		})
	})
}

// TestP26_CancelledBetweenTheClaimAndTheRun has a cancellation overtake a run that
// is counted already and has not begun.
func TestP26_CancelledBetweenTheClaimAndTheRun(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(context.Context, *counter) error{
		"cancel":  func(_ context.Context, c *counter) error { _, err := c.Schedule().Cancel("tick"); return err },
		"replace": after(time.Hour, actors.Name("tick")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start, d := time.Now(), new(planDiary)
				p := newPlanner(t, nil, d)
				p.do("a", after(5*time.Second, actors.Name("tick")))
				var calls sync.WaitGroup
				calls.Go(func() {
					p.do("a", func(context.Context, *counter) error { pass(10 * time.Second); return nil })
				})
				pass(6 * time.Second) // the claim waits for its turn by now
				calls.Go(func() { p.do("a", change) })
				calls.Wait()
				pass(time.Minute)
				synctest.Wait()
				if runs := d.take(); len(runs) > 0 {
					t.Fatalf("it ran: %+v", runs)
				}
				if name == "replace" {
					pass(2 * time.Hour)
					synctest.Wait()
					wantTimes(t, start, d.take(), 10*time.Second+time.Hour)
				}
			})
		})
	}
}

// TestP26_CancelRacesWithTheDueTime cancels at the very time at which a schedule
// falls due: after an acknowledged cancel that found it, nothing begins.
func TestP26_CancelRacesWithTheDueTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(planDiary)
		p := newPlanner(t, nil, d)
		for n := range 200 {
			p.do("a", after(time.Second, actors.Name("tick")))
			found := false
			pass(time.Second - time.Duration(n%2)*time.Microsecond)
			p.do("a", func(_ context.Context, c *counter) (err error) { found, err = c.Schedule().Cancel("tick"); return err })
			before := len(d.take())
			pass(time.Second)
			synctest.Wait()
			switch later := len(d.take()); {
			case found && later > 0:
				t.Fatal("a schedule began after its cancellation")
			case !found && before+later != 1:
				t.Fatalf("a schedule that was not cancelled ran %d times", before+later)
			}
		}
	})
}

func TestSchedulesAreCheckedWhenTheyAreMade(t *testing.T) {
	t.Parallel()
	ok := increment
	year := 365 * 24 * time.Hour
	tests := map[string]struct {
		reason string
		make   func(actors.Schedules) (string, error)
	}{
		"another service": {"bad_schedule_procedure", func(s actors.Schedules) (string, error) { return s.After(0, "/chat.v1.ChatRoom/Send", by(1)) }},
		"a read-only one": {"bad_schedule_procedure", func(s actors.Schedules) (string, error) {
			return s.After(0, counterv1connect.CounterGetProcedure, new(counterv1.GetRequest))
		}},
		"the subscription": {"bad_schedule_procedure", func(s actors.Schedules) (string, error) {
			return s.After(0, counterv1connect.CounterSubscribeProcedure, new(counterv1.SubscribeRequest))
		}},
		"another request": {"bad_schedule_request", func(s actors.Schedules) (string, error) { return s.After(0, ok, new(counterv1.FailRequest)) }},
		"no request":      {"bad_schedule_request", func(s actors.Schedules) (string, error) { return s.After(0, ok, nil) }},
		"too far":         {"schedule_too_far", func(s actors.Schedules) (string, error) { return s.After(11*year, ok, by(1)) }},
		"every so far":    {"schedule_too_far", func(s actors.Schedules) (string, error) { return s.Every(11*year, ok, by(1)) }},
		"too often":       {"bad_schedule_interval", func(s actors.Schedules) (string, error) { return s.Every(time.Second-1, ok, by(1)) }},
		"too large": {"schedule_too_large", func(s actors.Schedules) (string, error) {
			large := by(1)
			large.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 100, protowire.BytesType), make([]byte, 64<<10)))
			return s.After(0, ok, large)
		}},
		"no cron":           {"bad_schedule_cron", func(s actors.Schedules) (string, error) { return s.Cron("never", "", ok, by(1)) }},
		"cron, never":       {"bad_schedule_cron", func(s actors.Schedules) (string, error) { return s.Cron("0 0 30 2 *", "", ok, by(1)) }},
		"no name":           {"bad_schedule_name", func(s actors.Schedules) (string, error) { return s.After(0, ok, by(1), actors.Name("")) }},
		"a name with a tab": {"bad_schedule_name", func(s actors.Schedules) (string, error) { return s.After(0, ok, by(1), actors.Name("a\tb")) }},
		"no attempts":       {"bad_schedule_attempts", func(s actors.Schedules) (string, error) { return s.After(0, ok, by(1), actors.MaxAttempts(0)) }},
		"no pause":          {"bad_schedule_backoff", func(s actors.Schedules) (string, error) { return s.After(0, ok, by(1), actors.Backoff(0, 0)) }},
		"no policy":         {"bad_schedule_policy", func(s actors.Schedules) (string, error) { return s.After(0, ok, by(1), actors.OnMissed(9)) }},
	}
	d := new(planDiary)
	p := newPlanner(t, nil, d)
	p.do("a", func(ctx context.Context, c *counter) error {
		for name, test := range tests {
			_, err := test.make(c.Schedule())
			authored, ok := errors.AsType[*actors.Error](err)
			if !ok || authored.Code() != connect.CodeInvalidArgument || authored.Reason() != test.reason {
				t.Errorf("%s: the error is %v, want %s", name, err, test.reason)
			}
		}
		list, err := c.Schedule().List(ctx)
		if len(list) > 0 {
			t.Errorf("there are schedules: %v", list)
		}
		return err
	})
}

func TestLimitSchedulesPerActor(t *testing.T) {
	t.Parallel()
	d := new(planDiary)
	p := newPlanner(t, nil, d)
	more := func(_ context.Context, c *counter) error {
		_, err := c.Schedule().After(time.Hour, increment, by(1))
		return err
	}
	p.do("a", func(ctx context.Context, c *counter) error {
		for range 999 {
			if err := more(ctx, c); err != nil {
				return err
			}
		}
		return after(time.Hour, actors.Name("last"))(ctx, c)
	})
	wantFailure(t, p.try("a", more), failure{connect.CodeInvalidArgument, "too_many_schedules", notExecuted})
	p.do("a", after(2*time.Hour, actors.Name("last"))) // replaces one
	p.do("b", more)
	p.do("a", func(_ context.Context, c *counter) error { _, err := c.Schedule().Cancel("last"); return err })
	p.do("a", more)
	wantFailure(t, p.try("a", more), failure{connect.CodeInvalidArgument, "too_many_schedules", notExecuted})
}

func TestP22_AReadOnlyActionMayReadSchedulesOnly(t *testing.T) {
	t.Parallel()
	d := new(planDiary)
	p := newPlanner(t, nil, d)
	p.do("a", after(time.Hour, actors.Name("tick")))
	p.get = func(ctx context.Context, c *counter) error {
		if _, found, err := c.Schedule().Get(ctx, "tick"); !found || err != nil {
			t.Errorf("Get says %v, %v", found, err)
		}
		return nil
	}
	p.mustCount("a", 0)
	p.get = func(ctx context.Context, c *counter) error { return after(0)(ctx, c) }
	_, err := p.count(t.Context(), "a")
	wantFailure(t, err, failure{connect.CodeInternal, "internal", notExecuted})
}
