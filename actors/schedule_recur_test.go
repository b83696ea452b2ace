// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
)

// missed returns what runs stand for besides their own times.
func missed(runs []ran) []int {
	var list []int
	for _, run := range runs {
		list = append(list, run.Missed)
	}
	return list
}

// TestP31_AfterADayOfDowntime stops the server for a day, in which an hourly and a
// minutely schedule fall due.
func TestP31_AfterADayOfDowntime(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		policy actors.MissedPolicy
		hourly []int // missed of the runs at once after the start
		minute []int
	}{
		"one":  {actors.RunOnce, []int{23}, []int{24*60 - 1}},
		"all":  {actors.RunAll, make([]int, 24), append([]int{24*60 - 100}, make([]int, 99)...)},
		"none": {actors.RunNone, nil, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := new(planDiary)
				s := memory.New(memory.Options{})
				p := newPlanner(t, s, d)
				start := time.Now() // midnight in UTC
				for _, key := range []string{"cron", "every"} {
					p.do(key, func(_ context.Context, c *counter) (err error) {
						if key == "cron" {
							_, err = c.Schedule().Cron("0 * * * *", "UTC", increment, by(1), actors.OnMissed(test.policy))
						} else {
							_, err = c.Schedule().Every(time.Minute, increment, by(1), actors.OnMissed(test.policy))
						}
						return err
					})
				}
				p.stop()
				pass(24*time.Hour + 30*time.Second)
				newPlanner(t, s.Reopen(), d)
				pass(time.Second)
				synctest.Wait()
				if got := missed(d.of("cron")); !slices.Equal(got, test.hourly) {
					t.Errorf("the hourly runs missed %v, want %v", got, test.hourly)
				}
				if got := missed(d.of("every")); !slices.Equal(got, test.minute) {
					t.Errorf("the runs of each minute missed %v, want %v", got, test.minute)
				}
				for n, run := range d.of("cron") {
					if want := start.Add(time.Duration(n+1) * time.Hour); !run.Due.Equal(want) {
						t.Errorf("run %d is for %s, want %s", n, run.Due, want)
					}
				}
				d.take()
				resumed := start.Add(24 * time.Hour)
				pass(time.Hour)
				synctest.Wait()
				if got := times(resumed, d.of("cron")); !slices.Equal(got, []time.Duration{time.Hour}) {
					t.Errorf("then it runs at %v", got)
				}
				every := d.of("every")
				if len(every) != 60 || every[0].at.Sub(resumed) != time.Minute || every[59].Missed != 0 {
					t.Errorf("then the other runs %d times, first at %v", len(every), every)
				}
			})
		})
	}
}

// TestP31_AWakeThatFailsLosesNoMissedTime has the actor not wake for the first run after
// a day without a server, and for ten minutes beside one.
func TestP31_AWakeThatFailsLosesNoMissedTime(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		policy actors.MissedPolicy
		down   time.Duration
		runs   int
		missed int
	}{
		"all":  {actors.RunAll, 24 * time.Hour, 100, 24*60 - 100},
		"none": {actors.RunNone, 0, 1, 9},
		"one":  {actors.RunOnce, 0, 1, 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, s := new(planDiary), memory.New(memory.Options{})
				var fails atomic.Bool
				options := []actors.Option{actors.SleepAfter(time.Second), actors.OnWake(func(*counter, context.Context) error {
					if fails.Load() {
						return errors.New("no")
					}
					return nil
				})}
				p := newPlanner(t, s, d, options...)
				p.do("a", func(_ context.Context, c *counter) error {
					_, err := c.Schedule().Every(time.Minute, increment, by(1), actors.OnMissed(test.policy))
					return err
				})
				pass(10 * time.Second)
				fails.Store(true)
				if test.down > 0 {
					p.stop()
					pass(test.down)
					newPlanner(t, s.Reopen(), d, options...)
					pass(time.Second)
				} else {
					pass(10*time.Minute + 10*time.Second)
				}
				fails.Store(false)
				pass(35 * time.Second)
				runs := missed(d.take())
				if len(runs) != test.runs || runs[0] != test.missed {
					t.Errorf("%d runs missed %v, want %d, the first %d", len(runs), runs, test.runs, test.missed)
				}
			})
		})
	}
}

// TestP31_NoOverlap has runs that take longer than the time between them.
func TestP31_NoOverlap(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		policy actors.MissedPolicy
		at     []time.Duration // in half seconds
		missed []int
	}{
		// A run takes 2.5 s; the times are 1, 2, 3 … s.
		"one":  {actors.RunOnce, []time.Duration{2, 7, 12, 17}, []int{0, 1, 2, 1}},
		"all":  {actors.RunAll, []time.Duration{2, 7, 12, 17}, []int{0, 0, 0, 0}},
		"none": {actors.RunNone, []time.Duration{2, 7, 12, 17}, []int{0, 1, 2, 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start, d := time.Now(), new(planDiary)
				p := newPlanner(t, nil, d)
				d.acts(func(_ context.Context, c *counter, run actors.ScheduleRun) error {
					if run.Due.Sub(start) > 6*time.Second || len(d.of("a")) >= 4 {
						_, err := c.Schedule().Cancel("tick")
						return err
					}
					pass(2500 * time.Millisecond)
					return nil
				})
				p.do("a", func(_ context.Context, c *counter) error {
					_, err := c.Schedule().Every(time.Second, increment, by(1), actors.Name("tick"), actors.OnMissed(test.policy))
					return err
				})
				pass(time.Minute)
				synctest.Wait()
				runs := d.take()
				var at []time.Duration
				for _, when := range times(start, runs) {
					at = append(at, when/(500*time.Millisecond))
				}
				if !slices.Equal(at, test.at) || !slices.Equal(missed(runs), test.missed) {
					t.Errorf("the runs were at %v and missed %v, want %v and %v", at, missed(runs), test.at, test.missed)
				}
			})
		})
	}
}

// TestP28_SleepersAreWoken has a schedule due at an actor that sleeps, after days.
func TestP28_SleepersAreWoken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, d := time.Now(), new(planDiary)
		p := newPlanner(t, nil, d, actors.SleepAfter(time.Second))
		p.do("a", func(_ context.Context, c *counter) error {
			_, err := c.Schedule().Cron("30 6 * * MON-FRI", "Europe/Berlin", increment, by(1))
			return err
		})
		pass(60 * time.Hour) // from Saturday, 1 January 2000
		synctest.Wait()
		wantTimes(t, start, d.take(), 2*24*time.Hour+5*time.Hour+30*time.Minute)
	})
}

// due is how many schedules fall due at one time: TROUPE_DUE, or 3,000.
func due(t *testing.T) int {
	t.Helper()
	text := os.Getenv("TROUPE_DUE")
	if text == "" {
		return 3_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TROUPE_DUE=%q is not a number of schedules", text)
	}
	return n
}

// TestP32_ManyDueAtOnce has many schedules fall due at one time, one of each actor:
// all run, the sleepers are woken at the rate that is allowed, an actor that is
// awake waits for none of them, and what the dispatcher holds stays small.
func TestP32_ManyDueAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, d := due(t), new(planDiary)
		p := newPlanner(t, memory.New(memory.Options{Shards: 64}), d, actors.SleepAfter(5*time.Second))
		at := time.Now().Add(time.Minute)
		plan := func(_ context.Context, c *counter) error {
			_, err := c.Schedule().At(at, increment, by(1))
			return err
		}
		for key := range n {
			p.do(strconv.Itoa(key), plan)
		}
		var concurrent, most int
		var mu sync.Mutex
		d.acts(func(context.Context, *counter, actors.ScheduleRun) error {
			mu.Lock()
			concurrent++
			most = max(most, concurrent)
			mu.Unlock()
			pass(50 * time.Millisecond)
			mu.Lock()
			concurrent--
			mu.Unlock()
			return nil
		})
		pass(50 * time.Second)
		p.do("awake", func(_ context.Context, c *counter) error {
			_, err := c.Schedule().Every(time.Second, increment, by(1), actors.Name("tick"))
			return err
		})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		pass(time.Until(at) + 500*time.Millisecond)
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
			t.Errorf("the heap grew by %d MiB", grown>>20)
		}
		pass(time.Duration(n)*2*time.Millisecond + 2*time.Second)
		synctest.Wait()
		p.do("awake", func(_ context.Context, c *counter) error { _, err := c.Schedule().Cancel("tick"); return err })
		seen, last := make(map[string]bool), time.Duration(0)
		for _, run := range d.take() {
			if run.key == "awake" {
				if late := run.at.Sub(run.Due); late > 200*time.Millisecond {
					t.Errorf("the actor that is awake ran %s late", late)
				}
				continue
			}
			if seen[run.key] || run.at.Before(at) {
				t.Fatalf("%s ran at %s, seen before: %v", run.key, run.at, seen[run.key])
			}
			seen[run.key], last = true, max(last, run.at.Sub(at))
		}
		if len(seen) != n {
			t.Errorf("%d of %d ran", len(seen), n)
		}
		if least := time.Duration(n-100) * 2 * time.Millisecond; last < least {
			t.Errorf("all were woken within %s: faster than 500 in a second", last)
		}
		if most > 64 {
			t.Errorf("%d scheduled turns at one time", most)
		}
	})
}

// TestP32_RunsGiveWayToCallsOfTheHost has schedules fall due together, soon after a call
// and long after the last one.
func TestP32_RunsGiveWayToCallsOfTheHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(planDiary)
		p := newPlanner(t, nil, d, actors.SleepAfter(time.Hour))
		plan := func(in time.Duration) (at time.Time) {
			at = time.Now().Add(in)
			for key := range 50 {
				p.do(strconv.Itoa(key), func(_ context.Context, c *counter) error {
					for range 4 {
						if _, err := c.Schedule().At(at, increment, by(1)); err != nil {
							return err
						}
					}
					return nil
				})
			}
			return at
		}
		for _, with := range []struct{ in, least, most time.Duration }{
			{2 * time.Second, 200 * time.Millisecond, 400 * time.Millisecond}, // 200 runs, 32 and then at least 500 a second
			{time.Minute, 0, 0},
		} {
			at := plan(with.in)
			d.acts(func(ctx context.Context, c *counter, _ actors.ScheduleRun) error { // neither is a call that somebody waits for
				return c.post("inbox", 1)
			})
			pass(with.in + 10*time.Second)
			runs, last := d.take(), time.Duration(0)
			for _, run := range runs {
				last = max(last, run.at.Sub(at))
			}
			if len(runs) != 200 || last < with.least || last > with.most {
				t.Errorf("%s after the last call, %d runs, the last one after %s; want 200, after %s to %s", with.in, len(runs), last, with.least, with.most)
			}
		}
	})
}

// TestP32_ManyOfOneActor has all schedules of one actor fall due at one time: they
// take turns with its callers.
func TestP32_ManyOfOneActor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, d := time.Now(), new(planDiary)
		p := newPlanner(t, nil, d)
		p.do("a", func(ctx context.Context, c *counter) error {
			for range 1000 {
				if err := after(time.Second)(ctx, c); err != nil {
					return err
				}
			}
			return nil
		})
		d.acts(func(context.Context, *counter, actors.ScheduleRun) error { pass(10 * time.Millisecond); return nil })
		pass(2 * time.Second)
		called := time.Now()
		if _, err := p.count(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if took := time.Since(called); took > 30*time.Millisecond {
			t.Errorf("a call took %s", took)
		}
		pass(time.Minute)
		synctest.Wait()
		if runs := d.take(); len(runs) != 1000 || runs[0].at.Sub(start) != time.Second {
			t.Errorf("%d runs, the first at %v", len(runs), times(start, runs[:1]))
		}
		p.mustCount("a", 1000)
	})
}
