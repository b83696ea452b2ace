// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placementtest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// TestRoutesAfterAFailoverThatForgotAHandover has the database forget that a shard was
// handed over, which all nodes know of: it is found where it is held again.
func TestRoutesAfterAFailoverThatForgotAHandover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, nodes, _ := start(t, 8, 3)
		if err := c.Move(t.Context(), 5, nodes[0]); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Second)
		c.mu.Lock()
		standby := c.table.Clone()
		c.mu.Unlock()
		if err := c.Move(t.Context(), 5, nodes[1]); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if route, _, err := n.Refresh(t.Context(), 5); err != nil || route.Node.ID != nodes[1].Self().ID {
				t.Fatalf("%s believes it at %q, %v", n.Self().ID, route.Node.ID, err)
			}
		}
		synctest.Wait() // until the handover was answered
		c.mu.Lock()
		standby.Fail(c.now(), c.table.Generation()+1)
		c.table = standby
		c.mu.Unlock()
		pass(14 * time.Second)
		if !nodes[0].Holds(5) {
			t.Fatalf("the holder is %q", c.Holder(5))
		}
		for _, n := range nodes {
			if _, _, err := n.Refresh(t.Context(), 5); err != nil {
				t.Error(err)
			}
			if route, _ := n.Route(5); route.Node.ID != nodes[0].Self().ID {
				t.Errorf("%s believes it at %q, epoch %d", n.Self().ID, route.Node.ID, route.Epoch)
			}
		}
	})
}

// TestAHandoverAnsweredAfterAFailover has the answer to a handover, which the database has
// forgotten since, arrive after the node has heard of the failover. The shard must not stay
// with a node that does not take it back.
func TestAHandoverAnsweredAfterAFailover(t *testing.T) {
	t.Parallel()
	cfg := cluster.Config{Shards: 4}.WithDefaults()
	table, now := NewTable(cfg), time.Duration(0)
	a, b := cluster.NewMachine(cfg, placement.Node{ID: "a"}), placement.Node{ID: "b"}
	holds := make(map[uint16]bool)
	var hand *cluster.Request // it is held up
	heard := uint64(0)        // the generation that a's newest beat is of
	var step func(in cluster.Input)
	step = func(in cluster.Input) {
		out := a.Step(cluster.Instant{Mono: now, Wall: now}, in)
		for _, s := range out.Gained {
			holds[s] = true
		}
		for _, s := range append(out.Lost, out.Dropped...) {
			delete(holds, s)
		}
		for _, r := range out.Release {
			step(cluster.Released{ID: r.ID})
		}
		for _, q := range out.Requests {
			if q.Op == cluster.Hand && hand == nil {
				hand = &q
				continue
			}
			if q.Op == cluster.Beat {
				heard = q.Generation
			}
			answer, err := table.Ask(now, q)
			step(cluster.Answered{Request: q, Answer: answer, Err: err})
		}
	}
	pass := func(d time.Duration) {
		for end := now + d; now < end; now += cfg.TTL / 40 {
			beat := cluster.Request{Op: cluster.Beat, Node: b, Generation: table.Generation()}
			_, _ = table.Ask(now, beat) // it may not have joined yet
			step(cluster.Tick{})
		}
	}
	pass(cfg.TTL * 11 / 10) // the next beat is soon
	if len(holds) != 4 {
		t.Fatalf("the only node holds %d of 4 shards", len(holds))
	}
	for _, q := range []cluster.Request{{Op: cluster.Join, Node: b}, {Op: cluster.Beat, Node: b, Generation: table.Generation()}} {
		if _, err := table.Ask(now, q); err != nil {
			t.Fatal(err)
		}
	}
	step(cluster.Move{Shards: []uint16{1}, To: "b"})
	if hand == nil {
		t.Fatal("nothing is handed over")
	}
	standby := table.Clone()
	answer, err := table.Ask(now, *hand)
	if holder, _ := table.Holder(1); holder != "b" || err != nil {
		t.Fatalf("the holder is %q, %v", holder, err)
	}
	standby.Fail(now, table.Generation()+1)
	table = standby
	for heard != table.Generation() {
		pass(cfg.TTL / 40)
	}
	if now-hand.Sent.Mono > cfg.TTL/5 {
		t.Fatal("the answer would have come too late")
	}
	step(cluster.Answered{Request: *hand, Answer: answer})
	pass(3 * cfg.TTL)
	for s := range cfg.Shards {
		if holder, epoch := table.Holder(s); (holder == "a") != holds[s] {
			t.Errorf("shard %d is %q's under epoch %d, and held by a: %t", s, holder, epoch, holds[s])
		}
	}
}
