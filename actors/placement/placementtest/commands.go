// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placementtest

import (
	"errors"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// testCordon holds that a node which is to hold no shards keeps those it has until it
// hands them over and is given none, but when there is nobody else.
func testCordon(s *suite) {
	a, b := s.join(), s.join()
	a.claim(40)
	operator, _ := s.site.Process(s)
	cordon := func(n *stay, cordoned bool) {
		s.Helper()
		if _, err := operator.Ask(s.Context(), cluster.Request{Op: cluster.Cordon, To: n.node.ID, Cordoned: cordoned}); err != nil {
			s.Fatalf("cordon %s, %t: %v", n.node.ID, cordoned, err)
		}
	}
	status := func(n *stay) placement.NodeStatus {
		s.Helper()
		for _, one := range a.must(cluster.Request{Op: cluster.View}).Nodes {
			if one.ID == n.node.ID {
				return one
			}
		}
		s.Fatalf("no node %s", n.node.ID)
		return placement.NodeStatus{}
	}
	cordon(a, true)
	a.beat(false) // which does not lift it
	if one := status(a); !one.Cordoned || one.Draining || one.Shards != 40 || len(a.held()) != 40 || !s.site.MayCommit(s, a.node.ID) {
		s.Errorf("a node that is cordoned: %+v", one)
	}
	if one := status(b); one.Cordoned {
		s.Errorf("the other one: %+v", one)
	}
	if got := a.claim(64); len(got) != 0 {
		s.Errorf("a node that is cordoned claims %d shards", len(got))
	}
	mine := a.held()
	a.must(cluster.Request{Op: cluster.Hand, Grants: mine[:20], To: b.node.ID})
	back := b.held()[:1]
	b.refused(cluster.Request{Op: cluster.Hand, Grants: back, To: a.node.ID}, cluster.ErrReceiver)
	cordon(b, true) // and nobody is left
	b.must(cluster.Request{Op: cluster.Hand, Grants: back, To: a.node.ID})
	if got := a.claim(4); len(got) != 4 {
		s.Errorf("where all are cordoned one claims %d of 4 shards that nobody holds", len(got))
	}
	cordon(b, false)
	if got := a.claim(64); len(got) != 0 {
		s.Errorf("a node that is cordoned claims %d shards", len(got))
	}
	cordon(a, false)
	if got := a.claim(64); len(got) != 20 || status(a).Cordoned {
		s.Errorf("a node that may hold shards again claims %d of 20", len(got))
	}

	// What a node knows of itself goes with it into another stay.
	authority, id := s.site.Process(s)
	c := &stay{s: s, authority: authority, node: placement.Node{ID: id, Address: "host:1"}}
	if answer := c.must(cluster.Request{Op: cluster.Join, Cordoned: true}); answer.ID != "" {
		c.node.ID = answer.ID
	}
	if !status(c).Cordoned {
		s.Error("a node that was cordoned is not, in its next stay")
	}
	c.must(cluster.Request{Op: cluster.Leave})
	if _, err := operator.Ask(s.Context(), cluster.Request{Op: cluster.Cordon, To: c.node.ID, Cordoned: true}); !errors.Is(err, cluster.ErrDead) {
		s.Errorf("cordon a node that has left: %v", err)
	}
}

// testLoad holds that a view tells what nodes have said of themselves last.
func testLoad(s *suite) {
	a, b := s.join(), s.join()
	want := placement.Load{Actors: 1 << 40, Calls: 7}
	a.must(cluster.Request{Op: cluster.Beat, Generation: a.generation, Load: want})
	for _, n := range b.must(cluster.Request{Op: cluster.View}).Nodes {
		if n.ID == a.node.ID && n.Load != want || n.ID == b.node.ID && n.Load != (placement.Load{}) {
			s.Errorf("%s runs %+v", n.ID, n.Load)
		}
	}
}

// testRebalance holds that everybody hears of it.
func testRebalance(s *suite) {
	a, b := s.join(), s.join()
	if a.must(cluster.Request{Op: cluster.View}).Hurry {
		s.Error("in a hurry though nobody has asked for it")
	}
	operator, _ := s.site.Process(s)
	if _, err := operator.Ask(s.Context(), cluster.Request{Op: cluster.Rebalance}); err != nil {
		s.Fatal(err)
	}
	for _, n := range []*stay{a, b} {
		if !n.must(cluster.Request{Op: cluster.View}).Hurry {
			s.Error("in no hurry")
		}
	}
}
