// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
)

// TestP27_ABusyActorIsNoFailedAttempt has a call take the actor between the turn that
// counts an attempt and the one that runs it, for longer than a turn may wait.
func TestP27_ABusyActorIsNoFailedAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, ran := newKit(t, nil, actors.ActionTimeout(2*time.Second), actors.SleepAfter(time.Hour)), 0
		k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
			if _, scheduled := actors.ScheduleOf(ctx); scheduled {
				ran++
				return nil
			}
			switch req.GetAmount() {
			case 1:
				_, err := c.Schedule().After(10*time.Second, increment, by(1), actors.MaxAttempts(1))
				return err
			default: // so many milliseconds, whether it is in time or not
				pass(time.Duration(req.GetAmount()) * time.Millisecond)
				return nil
			}
		}
		k.mustAdd("a", 1)
		pass(9950 * time.Millisecond)
		var calls sync.WaitGroup
		calls.Go(func() { _, _ = k.add(t.Context(), "a", 100) }) // the run falls due and waits
		pass(60 * time.Millisecond)
		calls.Go(func() { _, _ = k.add(t.Context(), "a", 10_000) }) // behind its first turn, before its second
		calls.Wait()
		pass(time.Minute)
		synctest.Wait()
		if ran != 1 {
			t.Errorf("the schedule ran %d times", ran)
		}
	})
}
