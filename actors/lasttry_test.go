// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
)

// TestP30_TheInnocentAreNotGivenUp has three processes end with several messages or runs
// in hand, for one of them, and holds that the others take effect.
func TestP30_TheInnocentAreNotGivenUp(t *testing.T) {
	t.Parallel()
	const amount, poison = 10, 666
	keys := []string{"poisoned", "b", "c", "d", "e"}
	for _, kind := range []string{"messages", "runs"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				disk := memory.New(memory.Options{})
				var deaths atomic.Int32
				start := func() *kit {
					plug := &mortal{Store: disk, left: 1 << 30}
					return startKit(t, &kit{store: plug, increment: func(_ context.Context, c *counter, req *counterv1.IncrementRequest) (err error) {
						switch key := c.Key()[0]; {
						case key == "a":
							for _, to := range keys {
								given := int64(amount)
								if to == "poisoned" {
									given = poison
								}
								err = errors.Join(err, c.post(to, given))
							}
							return err
						case req.GetAmount() == 1:
							given := by(amount)
							if key == "poisoned" {
								given = by(poison)
							}
							_, err = c.Schedule().After(time.Second, increment, given, actors.Name("run"))
							return err
						case req.GetAmount() == poison:
							pass(time.Second / 2)
							if plug.die() {
								deaths.Add(1)
							}
							return errors.New("the process ends")
						}
						pass(time.Second) // still at it when the process ends, if it began beside the other one
						return nil
					}})
				}
				k, want := start(), int64(amount)
				if kind == "messages" {
					k.mustAdd("a", 1)
				} else {
					want++
					for _, key := range keys {
						k.mustAdd(key, 1)
					}
				}
				for range 3 {
					pass(10 * time.Second)
					k.stop()
					k = start()
				}
				pass(10 * time.Second)
				synctest.Wait()
				if n := deaths.Load(); n != 3 {
					t.Errorf("%d processes have ended, want 3", n)
				}
				for _, key := range keys[1:] {
					k.mustCount(key, want)
				}
				messages, err := k.DeadMessages(t.Context(), actors.DeadQuery{Namespace: "default", Limit: 9})
				if err != nil {
					t.Fatal(err)
				}
				runs, err := k.DeadSchedules(t.Context(), actors.DeadQuery{Namespace: "default", Limit: 9})
				if err != nil {
					t.Fatal(err)
				}
				if len(messages)+len(runs) != 1 {
					t.Errorf("the dead are %+v and %+v, want one", messages, runs)
				}
			})
		})
	}
}
