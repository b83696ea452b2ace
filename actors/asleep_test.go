// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// TestP30_AWakeThatKillsTheProcess has the process die each time a schedule wakes its
// actor: three such attempts are enough.
func TestP30_AWakeThatKillsTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(planDiary)
		s := memory.New(memory.Options{})
		var deadly atomic.Bool
		crash := make(chan struct{}, 10)
		wake := actors.OnWake(func(*counter, context.Context) error {
			if !deadly.Load() {
				return nil
			}
			s = s.Reopen() // whatever this server does from here on is not stored
			crash <- struct{}{}
			return errors.New("dead")
		})
		p := newPlanner(t, s, d, wake, actors.SleepAfter(time.Second))
		p.do("a", after(time.Minute, actors.Name("poison")))
		pass(10 * time.Second)
		deadly.Store(true)
		for range 3 {
			<-crash
			p = newPlanner(t, s, d, wake)
		}
		pass(time.Hour)
		if n := len(crash); n != 0 {
			t.Errorf("the actor was woken %d more times", n)
		}
		deadly.Store(false)
		if list := p.dead(); len(list) != 1 || list[0].ID != "poison" || list[0].Attempts != 3 || !strings.Contains(list[0].LastError, "died") {
			t.Fatalf("the dead list is %+v", list)
		}
	})
}

// TestP30_AWakeThatFailsIsNoAttempt holds that an actor which fails to wake loses no
// attempt of its schedules.
func TestP30_AWakeThatFailsIsNoAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(planDiary)
		var fails atomic.Bool
		p := newPlanner(t, memory.New(memory.Options{}), d, actors.SleepAfter(time.Second), actors.OnWake(func(*counter, context.Context) error {
			if fails.Load() {
				return errors.New("no")
			}
			return nil
		}))
		p.do("a", after(time.Minute, actors.Name("patient")))
		pass(10 * time.Second)
		fails.Store(true)
		pass(2 * time.Hour)
		fails.Store(false)
		pass(2 * time.Minute)
		if runs := d.take(); len(runs) != 1 || runs[0].Attempt != 1 {
			t.Errorf("the runs are %+v, want one, the first attempt", runs)
		}
	})
}

// TestP30_AMessageThatKillsTheProcess has the process die in each delivery of a
// message: after three it is dead, and the messages behind it go on.
func TestP30_AMessageThatKillsTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		crash := make(chan struct{}, 10)
		one := func(amount int64) *counterv1.IncrementRequest { return &counterv1.IncrementRequest{Amount: amount} }
		start := func() *kit {
			k := &kit{store: s} // messages are delivered from the start
			k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
				switch req.GetAmount() {
				case 100:
					for _, amount := range []int64{1, 13, 2} {
						if err := c.Outbox().Send(actors.Peer{Key: []string{"b"}}, counterv1connect.CounterIncrementProcedure, one(amount)); err != nil {
							return err
						}
					}
				case 13:
					s = s.Reopen() // whatever this server does from here on is not stored
					crash <- struct{}{}
				}
				return nil
			}
			return startKit(t, k)
		}
		k := start()
		if _, err := k.add(t.Context(), "a", 100); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			<-crash
			k = start()
		}
		pass(time.Hour)
		if n := len(crash); n != 0 {
			t.Errorf("the message was delivered %d more times", n)
		}
		k.mustCount("b", 3)
		target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
		list, err := k.DeadMessages(t.Context(), actors.DeadQuery{Namespace: "default", Actor: &target, Limit: 10})
		if err != nil || len(list) != 1 || list[0].Number != 2 || !strings.Contains(list[0].LastError, "died") {
			t.Errorf("the dead list is %+v, %v", list, err)
		}
	})
}
