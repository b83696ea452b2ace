// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
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
	mu   sync.Mutex
	runs []ran
	act  func(context.Context, *counter, actors.ScheduleRun) error // what a run does, or nil
	plan func(context.Context, *counter) error                     // what a call does, or nil
}

type ran struct {
	actors.ScheduleRun
	key string
	at  time.Time
}

func newPlanner(tb testing.TB, s store.Store, diary *planDiary, options ...actors.Option) *planner {
	tb.Helper()
	p := &planner{kit: newKit(tb, s, options...), diary: diary}
	p.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error {
		d := p.diary
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
	return p
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
	p.diary.mu.Unlock()
	_, err := p.add(context.Background(), key, 0)
	p.diary.mu.Lock()
	p.diary.plan = nil
	p.diary.mu.Unlock()
	return err
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
