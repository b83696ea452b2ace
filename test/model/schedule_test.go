// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"pgregory.net/rapid"
)

func TestP27_ADueScheduleTakesEffectOnce(t *testing.T) {
	t.Parallel()
	check(t, map[string]func(*world, *rapid.T){
		"schedule": (*world).schedule, "turn": (*world).turn, "subscribe": (*world).subscribe, "sleep": (*world).sleep,
		"a while": (*world).while, "crash": (*world).crash, "stop": (*world).stop, "destroy": (*world).destroy,
	})
}

// lateness is how long a schedule may take: one second, and the pause after an
// attempt that failed.
const lateness = 6 * time.Second

// schedule is a turn that makes schedules, with a commit of random fate.
func (w *world) schedule(r *rapid.T) {
	plan := rapid.SliceOfN(rapid.Custom(scheduleStep), 1, 3).Draw(r, "schedules")
	w.do(r, someKey.Draw(r, "key"), "", plan, returns, someFate.Draw(r, "fate"))
}

// scheduleStep asks for an action that adds one and publishes that. It may fail at
// its first attempt.
func scheduleStep(r *rapid.T) step {
	d := time.Duration(rapid.IntRange(1, 60).Draw(r, "seconds")) * time.Second
	flaky := rapid.Bool().Draw(r, "flaky")
	return step{
		name: fmt.Sprintf("schedule in %s, flaky %v", d, flaky),
		real: func(ctx context.Context, s *subject) error {
			var attempts atomic.Int64
			n := s.scripts.put(func(ctx context.Context, s *subject) error {
				s.State().Count++
				if err := publishStep(nil).real(ctx, s); err != nil {
					return err
				}
				if attempts.Add(1) == 1 && flaky {
					return errors.New("the first attempt fails as it was told")
				}
				return nil
			})
			_, err := s.Schedule().After(d, counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: n})
			return err
		},
		model: func(a *actor) {
			a.writes++
			a.courted = true
			a.due = append(slices.Clone(a.due), time.Now().Add(d))
		},
	}
}

// while lets some time pass.
func (w *world) while(r *rapid.T) {
	pass(time.Duration(rapid.IntRange(1, 40).Draw(r, "seconds")) * time.Second)
}

// settle lets what is due run, until nothing is.
func (w *world) settle() {
	w.deliver()
	for now := time.Now(); w.due(now); now = time.Now() {
		pass(lateness)
		synctest.Wait()
		for key, a := range w.model.actors {
			ran := len(a.due)
			a.due = slices.DeleteFunc(a.due, func(due time.Time) bool { return !due.After(now) })
			for ran -= len(a.due); ran > 0; ran-- {
				a.count++
				w.expect(key, []event{a.publish()})
			}
		}
	}
}

// due reports whether some schedule is due.
func (w *world) due(now time.Time) bool {
	for _, a := range w.model.actors {
		if slices.ContainsFunc(a.due, func(due time.Time) bool { return !due.After(now) }) {
			return true
		}
	}
	return false
}

// scheduled reports whether some schedule has yet to run.
func (w *world) scheduled() bool { return w.due(time.Now().Add(time.Hour)) }

// pass lets the bubble's time pass.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // no time passes outside the bubble
}
