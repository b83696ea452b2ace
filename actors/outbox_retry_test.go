// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
)

// TestP25_ADeadMessageThatIsTriedAgainTakesEffectOnce has three processes end with a
// message in hand, after it has taken effect or before, with messages behind it that were
// sent before or after, and then has it tried again; and again, after three more.
func TestP25_ADeadMessageThatIsTriedAgainTakesEffectOnce(t *testing.T) {
	t.Parallel()
	for n := range 1 << 5 {
		taken, behind, after, again, takenAgain := n&1 > 0, n&2 > 0, n&4 > 0, n&8 > 0, n&16 > 0
		if takenAgain && !again {
			continue
		}
		t.Run(fmt.Sprintf("taken %t, behind %t, after %t, again %t %t", taken, behind, after, again, takenAgain), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				disk, want := memory.New(memory.Options{}), int64(10)
				first := 1 // the commit that sends, and that of the effect
				if taken {
					first++
				}
				k := newKit(t, &mortal{Store: disk, left: first})
				k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
					if c.Key()[0] != "a" {
						return nil
					}
					err := c.post("b", 10)
					if behind {
						err = errors.Join(err, c.post("b", 20))
					}
					return err
				}
				k.mustAdd("a", 1)
				k = k.deadly(disk)
				if behind {
					want += 20
				}
				if after {
					k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
						if c.Key()[0] == "a" && req.GetAmount() == 1 {
							return c.post("b", 40)
						}
						return nil
					}
					k.mustAdd("a", 1)
					settled()
					want += 40
				}
				if again {
					k.stop()
					commits := 1 // that of the trial
					if takenAgain {
						commits++
					}
					k = newKit(t, &mortal{Store: disk, left: commits})
					k.retry("a")
					k = k.deadly(disk)
				}
				k.retry("a")
				settled()
				k.mustCount("b", want)
				if rows := k.outbox("a"); len(rows) != 1 || k.held("a") != 0 {
					t.Errorf("the outbox keeps %q and counts %d", rows, k.held("a"))
				}
				k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
					if c.Key()[0] == "a" && req.GetAmount() == 1 {
						return c.post("b", 80)
					}
					return nil
				}
				k.mustAdd("a", 1)
				settled()
				k.mustCount("b", want+80)
			})
		})
	}
}

// TestP25_ADeadMessageForAnotherIncarnation destroys the receiver after it has taken what
// was behind a dead message, and has it made again before the message is tried again.
func TestP25_ADeadMessageForAnotherIncarnation(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("dead twice %t", again), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				disk, given := memory.New(memory.Options{}), int64(0)
				sends := func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
					switch {
					case c.Key()[0] != "a" || req.GetAmount() != 1:
						return nil
					case given == 0:
						return errors.Join(c.post("b", 10), c.post("b", 20))
					}
					return c.post("b", given)
				}
				k := newKit(t, &mortal{Store: disk, left: 1})
				k.increment = sends
				k.mustAdd("a", 1)
				k = k.deadly(disk)
				k.mustCount("b", 20)
				if _, err := k.Destroy(t.Context(), actors.Target{Address: k.address("b"), Resolve: actors.Get}); err != nil {
					t.Fatal(err)
				}
				k.increment, given = sends, 40
				k.mustAdd("a", 1)
				settled()
				k.mustCount("b", 40)
				if again { // it takes effect, and nobody hears of it
					k.stop()
					k = newKit(t, &mortal{Store: disk, left: 2})
					k.retry("a")
					k = k.deadly(disk)
					k.mustCount("b", 50)
				}
				k.retry("a")
				settled()
				k.mustCount("b", 50)
			})
		})
	}
}

// TestWhatIsDroppedLeavesNothing has the only messages to many receivers die, and drops
// them: nothing of them is left.
func TestWhatIsDroppedLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) (err error) {
			if c.Key()[0] != "a" {
				return errors.New("no")
			}
			for n := range 50 {
				err = errors.Join(err, c.post(fmt.Sprintf("b%d", n), 1))
			}
			return err
		}
		k.mustAdd("a", 1)
		pass(3 * time.Hour)
		synctest.Wait()
		dead, err := k.DeadMessages(t.Context(), actors.DeadQuery{Namespace: "default", Limit: 100})
		if err != nil || len(dead) != 50 {
			t.Fatalf("%d are dead, %v", len(dead), err)
		}
		for n, m := range dead {
			act := k.DropMessage
			if n%2 == 0 { // and dies again, and is dropped then
				act = k.RetryMessage
			}
			if err := act(t.Context(), actors.Target{Address: k.address("a"), Resolve: actors.Get}, m.Number); err != nil {
				t.Fatal(err)
			}
		}
		pass(3 * time.Hour)
		synctest.Wait()
		dead, err = k.DeadMessages(t.Context(), actors.DeadQuery{Namespace: "default", Limit: 100})
		if err != nil || len(dead) != 25 {
			t.Fatalf("%d are dead, %v", len(dead), err)
		}
		for _, m := range dead {
			if err := k.DropMessage(t.Context(), actors.Target{Address: k.address("a"), Resolve: actors.Get}, m.Number); err != nil {
				t.Fatal(err)
			}
		}
		if rows := k.outbox("a"); len(rows) != 1 || k.held("a") != 0 {
			t.Errorf("the outbox keeps %q and counts %d", rows, k.held("a"))
		}
	})
}

// retry has the one message of an actor tried again that is dead.
func (k *kit) retry(key string) {
	k.tb.Helper()
	dead, err := k.DeadMessages(k.tb.Context(), actors.DeadQuery{Namespace: "default", Limit: 9})
	if err != nil || len(dead) != 1 || dead[0].Key != key {
		k.tb.Fatalf("the dead messages are %+v, %v", dead, err)
	}
	if err := k.RetryMessage(k.tb.Context(), actors.Target{Address: k.address(key), Resolve: actors.Get}, dead[0].Number); err != nil {
		k.tb.Fatal(err)
	}
}

// deadly has the process end that delivers, and two more, and returns the one after them.
func (k *kit) deadly(disk store.Store) *kit {
	for range 2 {
		settled()
		k.stop()
		k = newKit(k.tb, &mortal{Store: disk, left: 1}) // the claim
	}
	settled()
	k.stop()
	k = newKit(k.tb, disk)
	settled()
	return k
}

// settled lets what goes on come to an end.
func settled() {
	pass(5 * time.Second)
	synctest.Wait()
}

// mortal is a store that takes so many batches from a process, and nothing more.
type mortal struct {
	store.Store

	mu   sync.Mutex
	left int // guarded by mu
}

// die reports whether the process was still alive.
func (m *mortal) die() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	alive := m.left > 0
	m.left = 0
	return alive
}

func (m *mortal) Commit(ctx context.Context, batch []*store.Write) store.Pending {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left > 0 {
		m.left--
		return m.Store.Commit(ctx, batch)
	}
	for _, w := range batch {
		w.Err = errors.New("the store is gone")
	}
	return nothing{}
}
