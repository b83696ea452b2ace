// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"sync"
	"testing"
	"time"

	troupe "github.com/troupe-dev/troupe/clients/go"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// book is what callers know of the counters that they add to.
type book struct {
	mu      sync.Mutex
	sure    map[string]int64 // acknowledged
	unknown map[string]int64 // may have been counted
}

func newBook() *book { return &book{sure: make(map[string]int64), unknown: make(map[string]int64)} }

func (b *book) note(key string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.sure[key]++
	case troupe.OutcomeOf(err) != troupev1.Outcome_OUTCOME_NOT_EXECUTED:
		b.unknown[key]++
	}
}

// check compares the book with the counters.
func (b *book) check(f *fleet, node int) {
	f.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var all int64
	for key, sure := range b.sure {
		got, err := f.count(node, key)
		if err != nil {
			f.t.Errorf("Get %s: %v", key, err)
			continue
		}
		if got < sure || got > sure+b.unknown[key] {
			f.t.Errorf("%s counts %d; %d were acknowledged and %d are not known", key, got, sure, b.unknown[key])
		}
		all += sure
	}
	f.t.Logf("%d acknowledged, not known: %v", all, b.unknown)
}

const keys = 24

func key(n int) string { return fmt.Sprintf("key-%d", n%keys) }

// TestP5_AKilledNodesActorsGoOn holds that every actor of a node that is killed takes
// writes elsewhere within 15 s, and that nothing which was acknowledged is lost.
func TestP5_AKilledNodesActorsGoOn(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	b := newBook()
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for n := range 8 {
		callers.Go(func() {
			for i := n; ; i += 8 {
				select {
				case <-stop:
					return
				default:
				}
				_, err := f.add(1+i%2, key(i), 1)
				b.note(key(i), err)
				if err != nil {
					wait(50 * time.Millisecond)
				}
			}
		})
	}
	wait(time.Second)
	f.nodes[0].Kill()
	for n := range keys {
		took := f.eventually(15*time.Second, "an actor of the killed node takes writes", func() bool {
			_, err := f.add(1, key(n), 1)
			b.note(key(n), err)
			return err == nil
		})
		if took > time.Second {
			t.Logf("%s was back after %s", key(n), took)
		}
	}
	wait(time.Second)
	close(stop)
	callers.Wait()
	b.check(f, 2)
}

// TestP2_AFrozenProcessSaysNothing holds that a node which is stopped in the middle of a
// turn for longer than its lease changes nothing when it goes on, and answers nothing
// as if it had.
func TestP2_AFrozenProcessSaysNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	for n := range keys {
		if _, err := f.add(n%3, key(n), 1); err != nil {
			t.Fatal(err)
		}
	}
	type late struct {
		key string
		err error
	}
	lates := make(chan late, keys)
	for n := range keys { // some of them run at node 0
		go func() {
			ctx := t.Context()
			_, err := f.counters(0, key(n)).Increment(ctx, slowIncrement)
			lates <- late{key(n), err}
		}()
	}
	wait(time.Second) // their turns run
	f.stop(0)
	wait(time.Second)
	for n := range keys {
		f.eventually(30*time.Second, "an actor of the frozen node takes writes", func() bool {
			_, err := f.add(1, key(n), 1)
			return err == nil
		})
	}
	before := make(map[string]int64)
	for n := range keys {
		got, err := f.count(2, key(n))
		if err != nil {
			t.Fatal(err)
		}
		before[key(n)] = got
	}
	f.resume(0)
	var refused int
	for range keys {
		l := <-lates
		counted := before[l.key] > slowAmount
		switch {
		case l.err == nil && !counted:
			t.Errorf("%s: the frozen node says that it has counted, and nobody else knows", l.key)
		case l.err != nil && !counted:
			refused++
		case l.err != nil && troupe.OutcomeOf(l.err) == troupev1.Outcome_OUTCOME_NOT_EXECUTED:
			t.Errorf("%s: it was counted, and the answer is %v", l.key, l.err)
		}
	}
	if refused == 0 {
		t.Error("no turn was frozen: the test has tested nothing")
	}
	f.awaitReady(0)
	for n := range keys {
		for node := range 3 {
			got, err := f.count(node, key(n))
			if err != nil || got != before[key(n)] {
				t.Errorf("%s counts %d, %v at node %d, want %d", key(n), got, err, node, before[key(n)])
			}
		}
	}
}

// TestASchedulesRunsOnceThoughItsNodeDies holds that what is due runs once, wherever
// its actor is by then.
func TestAScheduleRunsOnceThoughItsNodeDies(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	for n := range keys {
		if _, err := f.add(n%3, key(n), -4000); err != nil {
			t.Fatal(err)
		}
	}
	f.nodes[0].Kill()
	for n := range keys {
		f.eventually(40*time.Second, "a schedule has run", func() bool {
			got, err := f.count(1, key(n))
			return err == nil && got == 1
		})
	}
	wait(3 * time.Second)
	for n := range keys {
		if got, err := f.count(2, key(n)); err != nil || got != 1 {
			t.Errorf("the schedule of %s ran %d times (%v)", key(n), got, err)
		}
	}
}
