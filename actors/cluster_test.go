// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

func TestAHostPassesOnWhatItDoesNotRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, nil)
		for i := range f.kits {
			key := f.keyOf(i, 0)
			for _, k := range f.kits {
				k.mustAdd(key, 1)
			}
			for _, k := range f.kits {
				k.mustCount(key, int64(len(f.kits)))
			}
		}
		// An error of an author passes as it is.
		key := f.keyOf(1, 1)
		here, there := f.kits[1].fail(t.Context(), key, 1, false), f.kits[0].fail(t.Context(), key, 1, false)
		if failureOf(t, here) != failureOf(t, there) || here.Error() != there.Error() {
			t.Errorf("the owner says %v, another host %v", here, there)
		}
	})
}

func TestAHostWithoutForwarderRefusesWhatItDoesNotRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, func(k *kit) {
			inner := k.configure
			k.configure = func(cfg *actors.Config) { inner(cfg); cfg.Forward = nil }
		})
		_, err := f.kits[0].add(t.Context(), f.keyOf(1, 0), 1)
		wantFailure(t, err, failure{connect.CodeUnavailable, "not_owner", notExecuted})
		_, _, err = f.kits[0].Ensure(t.Context(), actors.Target{Address: f.kits[0].address(f.keyOf(1, 0))}, nil)
		wantFailure(t, err, failure{connect.CodeUnavailable, "not_owner", notExecuted})
	})
}

func TestP21_ACycleOverTwoNodesFailsAndNamesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var there, back string
		f := newFleet(t, 2, func(k *kit) {
			k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
				to := there
				if c.Key()[0] == there {
					to = back
				}
				_, err := counterv1connect.NewCounterClient(c.Actors().GetOrCreate(to)).Increment(ctx, req)
				return err
			}
		})
		back, there = f.keyOf(0, 0), f.keyOf(1, 0)
		began := time.Now()
		_, err := f.kits[0].add(t.Context(), back, 1)
		wantFailure(t, err, failure{connect.CodeFailedPrecondition, "call_cycle", notExecuted})
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	})
}

func TestP2_AFrozenOwnerChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var frozen atomic.Bool
		inTurn, thaw := make(chan struct{}), make(chan struct{})
		f := newFleet(t, 2, func(k *kit) {
			k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error {
				if frozen.CompareAndSwap(true, false) {
					close(inTurn)
					<-thaw
				}
				return nil
			}
		})
		key := f.keyOf(0, 0)
		f.kits[0].mustAdd(key, 1)
		watcher := f.kits[0].subscribe(key, nil)
		await(t, "opened frame", watcher.opened)

		frozen.Store(true)
		late := make(chan error, 1)
		go func() { _, err := f.kits[0].add(t.Context(), key, 100); late <- err }()
		<-inTurn
		f.nodes[0].Pause()
		f.cut(0, true)
		pass(20 * time.Second) // its lease ends, and the other takes over
		if got := f.kits[1].mustAdd(key, 10); got != 11 {
			t.Fatalf("the new owner counts %d, want 11", got)
		}
		close(thaw)
		wantFailure(t, <-late, failure{connect.CodeAborted, "turn_discarded", notExecuted})
		f.nodes[0].Resume()
		closing := await(t, "closing frame", watcher.closed)
		if closing.GetReason() != troupev1.CloseReason_CLOSE_REASON_MOVED {
			t.Errorf("the stream ends with %v", closing)
		}
		for len(watcher.frames) > 0 {
			if event := <-watcher.frames; event.GetCountChanged() != nil && event.GetCountChanged().GetCount() != 1 {
				t.Errorf("the frozen owner sent %v", event)
			}
		}
		f.cut(0, false)
		pass(time.Minute)
		for _, k := range f.kits {
			k.mustCount(key, 11)
		}
	})
}

func TestP4_AReadIsNotAnsweredAfterTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var frozen atomic.Bool
		inTurn, thaw := make(chan struct{}), make(chan struct{})
		f := newFleet(t, 2, func(k *kit) {
			k.get = func(context.Context, *counter) error {
				if frozen.CompareAndSwap(true, false) {
					close(inTurn)
					<-thaw
				}
				return nil
			}
			inner := k.configure
			k.configure = func(cfg *actors.Config) { inner(cfg); cfg.Forward = nil }
		})
		key := f.keyOf(0, 0)
		f.kits[0].mustAdd(key, 1)
		frozen.Store(true)
		late := make(chan error, 1)
		go func() { _, err := f.kits[0].count(t.Context(), key); late <- err }()
		<-inTurn
		f.nodes[0].Pause()
		pass(20 * time.Second)
		f.kits[1].mustAdd(key, 1)
		close(thaw)
		wantFailure(t, <-late, failure{connect.CodeUnavailable, "not_owner", notExecuted})
		_, err := f.kits[0].count(t.Context(), key)
		wantFailure(t, err, failure{connect.CodeUnavailable, "not_owner", notExecuted})
		f.nodes[0].Resume()
	})
}

func TestAMovedActorEndsWhatItHasBegun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		inTurn, end := make(chan struct{}), make(chan struct{})
		cancelled := make(chan struct{})
		var slept atomic.Int32
		f := newFleet(t, 2, func(k *kit) {
			k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error {
				if slow.CompareAndSwap(true, false) {
					c.Go(func(ctx context.Context) { <-ctx.Done(); close(cancelled) })
					close(inTurn)
					<-end
				}
				return nil
			}
		}, actors.OnSleep(func(*counter, context.Context) error { slept.Add(1); return nil }))
		key := f.keyOf(0, 0)
		watcher := f.kits[0].subscribe(key, nil)
		await(t, "opened frame", watcher.opened)
		slow.Store(true)
		begun, waiting := make(chan error, 1), make(chan error, 1)
		go func() { _, err := f.kits[0].add(t.Context(), key, 1); begun <- err }()
		<-inTurn
		go func() { _, err := f.kits[0].add(t.Context(), key, 10); waiting <- err }()
		synctest.Wait()
		moved := make(chan error, 1)
		go func() { moved <- f.Move(t.Context(), f.shardOf(key), f.nodes[1]) }()
		pass(100 * time.Millisecond)
		close(end)
		if err := await(t, "answer of the turn that had begun", begun); err != nil {
			t.Errorf("the turn that had begun: %v", err)
		}
		if err := await(t, "end of the move", moved); err != nil {
			t.Fatal(err)
		}
		if err := await(t, "answer of the call that waited", waiting); err != nil {
			t.Errorf("the call that waited: %v", err)
		}
		<-cancelled
		if closing := await(t, "closing frame", watcher.closed); closing.GetReason() != troupev1.CloseReason_CLOSE_REASON_MOVED || closing.GetReconnectAfter() == nil {
			t.Errorf("the stream ends with %v", closing)
		}
		if slept.Load() != 1 {
			t.Errorf("the actor slept %d times", slept.Load())
		}
		f.kits[0].mustCount(key, 11)
	})
}

func TestP25_MessagesCrossNodesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var to string
		f := newFleet(t, 3, func(k *kit) {
			k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
				if c.Key()[0] != to {
					return c.post(to, req.GetAmount())
				}
				return nil
			}
		})
		from := f.keyOf(0, 0)
		to = f.keyOf(1, 0)
		for n := range 10 {
			f.kits[n%3].mustAdd(from, 1)
			if n == 4 { // the receiver's node dies, and later the sender's moves
				f.nodes[1].Kill()
				f.cut(1, true)
			}
			if n == 7 {
				pass(time.Minute)
				if err := f.Move(t.Context(), f.shardOf(from), f.nodes[2]); err != nil {
					t.Fatal(err)
				}
			}
			if n == 4 {
				f.kits[1] = f.kits[2] // nobody calls the dead node
			}
		}
		pass(5 * time.Minute)
		f.kits[0].mustCount(to, 10)
		f.kits[2].mustCount(from, 10)
	})
}

func TestAScheduleRunsOnceWhereItsActorIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		runs := make(map[string]int)
		f := newFleet(t, 2, func(k *kit) {
			k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error {
				if _, scheduled := actors.ScheduleOf(ctx); scheduled {
					mu.Lock()
					defer mu.Unlock()
					runs[c.Key()[0]]++
					return nil
				}
				_, err := c.Schedule().After(5*time.Minute, increment, by(1))
				return err
			}
		})
		keys := []string{f.keyOf(0, 0), f.keyOf(0, 1), f.keyOf(1, 0)}
		for _, key := range keys {
			f.kits[1].mustAdd(key, 1)
		}
		if err := f.Move(t.Context(), f.shardOf(keys[2]), f.nodes[0]); err != nil {
			t.Fatal(err)
		}
		f.nodes[0].Kill()
		f.cut(0, true)
		pass(10 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for _, key := range keys {
			if runs[key] != 1 {
				t.Errorf("the schedule of %s ran %d times", key, runs[key])
			}
		}
	})
}

func TestANodeThatIsCutOffComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, nil)
		key := f.keyOf(0, 0)
		f.kits[0].mustAdd(key, 1)
		f.nodes[0].Cut(placementtest.CutRequests)
		pass(30 * time.Second)
		if held := f.held(0); held != 0 {
			t.Errorf("a node without a lease holds %d shards", held)
		}
		f.kits[1].mustAdd(key, 1)
		f.nodes[0].Cut(placementtest.CutNothing)
		pass(time.Minute)
		if held := f.held(0); held == 0 {
			t.Error("the node has not come back")
		}
		for _, k := range f.kits {
			k.mustCount(key, 2)
		}
	})
}

// TestNodesTellTheirLoad holds that the cluster knows, some seconds later, how many
// actors and calls a node has, and forgets those that have gone elsewhere.
func TestNodesTellTheirLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := newFleet(t, 2, func(k *kit) {
			k.increment = func(_ context.Context, _ *counter, req *counterv1.IncrementRequest) error {
				if req.GetAmount() == 7 {
					<-release
				}
				return nil
			}
		})
		loads := func() (told [2]placement.Load) {
			t.Helper()
			pass(5 * time.Second)
			nodes, err := f.nodes[0].Nodes(t.Context())
			if err != nil || len(nodes) != 2 {
				t.Fatalf("%d nodes, %v", len(nodes), err)
			}
			return [2]placement.Load{nodes[0].Load, nodes[1].Load}
		}
		for n := range 5 {
			f.kits[0].mustAdd(f.keyOf(0, n), 1)
		}
		var slow sync.WaitGroup
		slow.Go(func() { f.kits[1].mustAdd(f.keyOf(1, 0), 7) })
		if got := loads(); got != [2]placement.Load{{Actors: 5}, {Actors: 1, Calls: 1}} {
			t.Errorf("they run %+v", got)
		}
		close(release)
		slow.Wait()
		if err := f.Cordon(f.nodes[0], true); err != nil {
			t.Fatal(err)
		}
		if got := loads(); got[0] != (placement.Load{}) {
			t.Errorf("the drained node runs %+v", got[0])
		}
	})
}
