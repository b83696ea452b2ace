// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placementtest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// log is a tenant that notes what it has.
type log struct {
	mu      sync.Mutex
	has     map[uint16]bool
	refuses error         // what Release returns
	slow    time.Duration // that Release takes
	faults  []string
}

func newLog() *log { return &log{has: make(map[uint16]bool)} }

func (l *log) Gained(shards []uint16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range shards {
		l.has[s] = true
	}
}

func (l *log) Release(_ context.Context, shards []uint16) error {
	if l.slow > 0 {
		<-time.After(l.slow)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuses == nil {
		l.dropLocked(shards)
	}
	return l.refuses
}

func (l *log) Lost(shards []uint16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(shards)
}

func (l *log) Load() placement.Load { return placement.Load{} }

func (l *log) dropLocked(shards []uint16) {
	for _, s := range shards {
		if !l.has[s] {
			l.faults = append(l.faults, "a shard was taken that had not been given")
		}
		delete(l.has, s)
	}
}

func (l *log) count(t *testing.T) int {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faults) > 0 {
		t.Error(l.faults)
	}
	return len(l.has)
}

// start returns a cluster of n nodes and their tenants, balanced.
func start(t *testing.T, shards uint16, n int) (*Cluster, []*Node, []*log) {
	t.Helper()
	c := NewCluster(shards)
	t.Cleanup(c.Close)
	var nodes []*Node
	var logs []*log
	for i := range n {
		node, l := c.Node(placement.Node{ID: string(rune('a' + i)), Address: "host:1"}), newLog()
		if err := node.Start(l); err != nil {
			t.Fatal(err)
		}
		nodes, logs = append(nodes, node), append(logs, l)
	}
	pass(time.Minute)
	for i, l := range logs {
		if got := l.count(t); got < int(shards)/n || got > int(shards)/n+1 {
			t.Fatalf("node %d has %d of %d shards", i, got, shards)
		}
	}
	return c, nodes, logs
}

// pass lets fake time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAKilledNodesShardsAreTakenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, nodes, logs := start(t, 300, 3)
		nodes[0].Kill()
		pass(14 * time.Second)
		if a, b := logs[1].count(t), logs[2].count(t); a != 150 || b != 150 {
			t.Errorf("the survivors have %d and %d shards", a, b)
		}
	})
}

func TestAPausedNodeHoldsNothingAndComesBackAsAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, nodes, logs := start(t, 30, 2)
		var shard uint16
		for !nodes[0].Holds(shard) {
			shard++
		}
		first := nodes[0].Self().ID
		nodes[0].Pause()
		pass(9 * time.Second)
		if nodes[0].Holds(shard) {
			t.Error("held after its lease")
		}
		pass(5 * time.Second)
		if c.Holder(shard) != nodes[1].Self().ID || c.MayCommit(first) {
			t.Errorf("the holder is %q, and commits of the paused node pass: %t", c.Holder(shard), c.MayCommit(first))
		}
		nodes[0].Resume()
		pass(time.Minute)
		if got := nodes[0].Self().ID; got == first {
			t.Error("its stay goes on")
		}
		if a, b := logs[0].count(t), logs[1].count(t); a != 15 || b != 15 {
			t.Errorf("after it came back they have %d and %d shards", a, b)
		}
	})
}

func TestANodeThatIsCutOffStops(t *testing.T) {
	t.Parallel()
	for _, cut := range []Cut{CutRequests, CutAnswers} {
		synctest.Test(t, func(t *testing.T) {
			_, nodes, logs := start(t, 30, 2)
			nodes[0].Cut(cut)
			pass(30 * time.Second)
			if a, b := logs[0].count(t), logs[1].count(t); a != 0 || b != 30 {
				t.Errorf("cut %d: they have %d and %d shards", cut, a, b)
			}
			nodes[0].Cut(CutNothing)
			pass(time.Minute)
			if a, b := logs[0].count(t), logs[1].count(t); a != 15 || b != 15 {
				t.Errorf("cut %d, healed: they have %d and %d shards", cut, a, b)
			}
		})
	}
}

func TestADrainedNodeHandsOverEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, nodes, logs := start(t, 4096, 3)
		begin := time.Now()
		if err := nodes[2].Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("drained in %v", time.Since(begin))
		pass(2 * time.Second)
		if a, b, c := logs[0].count(t), logs[1].count(t), logs[2].count(t); a+b != 4096 || c != 0 || max(a, b)-min(a, b) > 1 {
			t.Errorf("they have %d, %d and %d shards", a, b, c)
		}
	})
}

func TestAMovedShardIsHeldWhereItWent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, nodes, _ := start(t, 8, 2)
		for _, to := range []int{0, 1, 0} {
			if err := c.Move(t.Context(), 5, nodes[to]); err != nil {
				t.Fatal(err)
			}
			route, ok, err := nodes[1-to].Refresh(t.Context(), 5)
			if err != nil || !ok || route.Node.ID != nodes[to].Self().ID {
				t.Errorf("the other node believes it at %q, %t, %v", route.Node.ID, ok, err)
			}
			if !nodes[to].Holds(5) || nodes[1-to].Holds(5) {
				t.Error("the wrong node holds it")
			}
			pass(10 * time.Second)
		}
	})
}

func TestATenantThatDoesNotLetGoKeepsItsShards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, nodes, logs := start(t, 30, 2)
		logs[0].mu.Lock()
		logs[0].refuses = context.DeadlineExceeded
		logs[0].mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := nodes[0].Drain(ctx); err == nil {
			t.Error("drained")
		}
		if got := logs[0].count(t); got != 15 {
			t.Errorf("%d shards", got)
		}
		if err := nodes[0].Close(); err != nil {
			t.Error(err)
		}
		pass(5 * time.Second) // no lease has to end
		if a, b := logs[0].count(t), logs[1].count(t); a != 0 || b != 30 {
			t.Errorf("after Close they have %d and %d shards", a, b)
		}
	})
}

func TestRefreshTellsAndTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, nodes, _ := start(t, 30, 2)
		for shard := range uint16(30) {
			for _, n := range nodes {
				route, ok, err := n.Refresh(t.Context(), shard)
				if err != nil || !ok {
					t.Fatalf("shard %d: %v, %t", shard, err, ok)
				}
				i := slices.IndexFunc(nodes, func(n *Node) bool { return n.Self().ID == route.Node.ID })
				if i < 0 || !nodes[i].Holds(shard) || nodes[1-i].Holds(shard) {
					t.Errorf("shard %d is said to be at %q", shard, route.Node.ID)
				}
			}
		}
		if _, ok, err := nodes[0].Refresh(t.Context(), 30); ok || err != nil {
			t.Error("a shard that is none has a holder")
		}
	})
}

func TestExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, nodes, logs := start(t, 30, 2)
		first := nodes[0].Self().ID
		c.Expire(nodes[0])
		pass(4 * time.Second)
		if nodes[0].Self().ID == first || c.MayCommit(first) {
			t.Error("its stay goes on")
		}
		pass(time.Minute)
		if a, b := logs[0].count(t), logs[1].count(t); a != 15 || b != 15 {
			t.Errorf("they have %d and %d shards", a, b)
		}
	})
}

func TestHigherVersionsAreGivenShards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, nodes, logs := start(t, 30, 3)
		newer, l := c.Node(placement.Node{ID: "z", Version: 7}), newLog()
		if err := newer.Start(l); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if got := l.count(t); got != 6 { // 30 over 4 is at most 8 for the others, which keep them
			t.Errorf("the newer node has %d shards", got)
		}
		nodes[0].Kill()
		pass(time.Minute)
		if a, b := logs[1].count(t), logs[2].count(t); a > 8 || b > 8 {
			t.Errorf("older nodes were given shards: they have %d and %d", a, b)
		}
		if err := newer.Close(); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if a, b := logs[1].count(t), logs[2].count(t); a != 15 || b != 15 {
			t.Errorf("without the newer node they have %d and %d", a, b)
		}
	})
}

func TestACordonedNodeIsEmptyUntilItMayHoldAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, nodes, logs := start(t, 4096, 3)
		cordon := func(node int, cordoned bool) {
			t.Helper()
			if err := c.Cordon(nodes[node], cordoned); err != nil {
				t.Fatal(err)
			}
		}
		shares := func(what string, want ...int) {
			t.Helper()
			pass(20 * time.Second)
			for i, l := range logs {
				if got := l.count(t); got < want[i]-1 || got > want[i]+1 {
					t.Errorf("%s: node %d has %d shards, not %d", what, i, got, want[i])
				}
			}
		}
		cordon(0, true)
		shares("one is cordoned", 0, 2048, 2048)

		first := nodes[0].Self().ID // another stay does not change that
		c.Expire(nodes[0])
		shares("it came back", 0, 2048, 2048)
		if nodes[0].Self().ID == first {
			t.Error("its stay goes on")
		}

		cordon(1, true)
		shares("two are cordoned", 0, 0, 4096)
		cordon(2, true)
		shares("all are cordoned", 0, 0, 4096)
		nodes[2].Kill()
		pass(20 * time.Second)
		shares("the one that held everything was killed", 2048, 2048, 4096) // it cannot tell any more
		cordon(1, false)
		shares("one takes shards again", 0, 4096, 4096)
		cordon(0, false)
		shares("both do", 2048, 2048, 4096)
	})
}

// TestTheLastNodeThatStopsHandsOverToTheCordoned holds that shards go from the last
// node that takes any to those that are cordoned, without having been nobody's.
func TestTheLastNodeThatStopsHandsOverToTheCordoned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, nodes, logs := start(t, 300, 3)
		for _, n := range nodes[:2] {
			if err := c.Cordon(n, true); err != nil {
				t.Fatal(err)
			}
		}
		pass(20 * time.Second)
		if err := nodes[2].Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		for shard := range uint16(300) {
			if holder := c.Holder(shard); holder != nodes[0].Self().ID && holder != nodes[1].Self().ID {
				t.Errorf("shard %d is at %q", shard, holder)
			}
		}
		pass(20 * time.Second)
		if a, b := logs[0].count(t), logs[1].count(t); a != 150 || b != 150 {
			t.Errorf("they have %d and %d shards", a, b)
		}
	})
}

// TestRebalanceHastens holds that a node which has joined is given its share faster once
// somebody asks for it.
func TestRebalanceHastens(t *testing.T) {
	t.Parallel()
	took := func(hasten bool) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			c, _, logs := start(t, 4096, 1)
			logs[0].slow = 200 * time.Millisecond
			newer, l := c.Node(placement.Node{ID: "z"}), newLog()
			if err := newer.Start(l); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for l.count(t) < 2048 {
				if hasten {
					if _, err := c.Ask(t.Context(), cluster.Request{Op: cluster.Rebalance}); err != nil {
						t.Fatal(err)
					}
				}
				pass(100 * time.Millisecond)
			}
			took = time.Since(began)
		})
		return took
	}
	if usual, hurry := took(false), took(true); hurry > usual-5*time.Second {
		t.Errorf("%v, and in a hurry %v", usual, hurry)
	} else {
		t.Logf("%v, and in a hurry %v", usual, hurry)
	}
}
