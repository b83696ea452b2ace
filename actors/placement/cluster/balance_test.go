// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"testing"

	"github.com/troupe-dev/troupe/actors/placement"
	"pgregory.net/rapid"
)

// drawNodes makes a cluster up.
func drawNodes(t *rapid.T) []placement.NodeStatus {
	nodes := make([]placement.NodeStatus, rapid.IntRange(1, 12).Draw(t, "nodes"))
	for i := range nodes {
		nodes[i] = placement.NodeStatus{
			Node:     placement.Node{ID: fmt.Sprintf("n%02d", i), Version: uint64(rapid.IntRange(1, 2).Draw(t, "version"))},
			Shards:   rapid.IntRange(0, 50).Draw(t, "shards"),
			Draining: rapid.IntRange(0, 3).Draw(t, "draining") == 0,
			Cordoned: rapid.IntRange(0, 2).Draw(t, "cordoned") == 0,
		}
		if rapid.IntRange(0, 5).Draw(t, "ended") == 0 {
			nodes[i].LeaseMillis = -1
		}
	}
	return nodes
}

// TestTransfers plays the plans of all nodes: what comes of it is balanced, needs no
// further plan, and moves nothing that need not move.
func TestTransfers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawNodes(t)
		at := make(map[string]int)
		for i, n := range nodes {
			at[n.ID] = i
		}
		after := append([]placement.NodeStatus(nil), nodes...)
		moved, lost := 0, 0
		for _, n := range nodes {
			if n.LeaseMillis < 0 {
				continue // it is not there to do anything
			}
			for _, plan := range transfers(nodes, n.ID) {
				after[at[n.ID]].Shards -= plan.n
				if plan.to == "" {
					lost += plan.n
					continue
				}
				to := nodes[at[plan.to]]
				if to.Draining || to.LeaseMillis < 0 || plan.to == n.ID || to.Cordoned && Takes(nodes, "") {
					t.Fatalf("%s gives %d to %+v", n.ID, plan.n, to)
				}
				after[at[plan.to]].Shards += plan.n
				moved += plan.n
			}
		}
		takers := takers(nodes)
		if lost > 0 && len(takers) > 0 {
			t.Fatalf("%d shards were given to nobody", lost)
		}
		if surplus := Surplus(nodes, 7); surplus != moved+lost+7 {
			t.Fatalf("surplus %d, but %d move and %d are given to nobody", surplus, moved, lost)
		}
		must, resort := 0, len(takers) > 0 && takers[0].Cordoned // nobody else is left
		for i, n := range after {
			switch {
			case n.LeaseMillis < 0:
			case n.Draining && n.Shards != 0:
				t.Fatalf("%s drains and keeps %d", n.ID, n.Shards)
			case n.Cordoned && !n.Draining && resort && n.Shards < nodes[i].Shards:
				t.Fatalf("%s hands over shards though there is nobody but the cordoned", n.ID)
			case n.Cordoned && !resort && len(takers) > 0 && n.Shards != 0:
				t.Fatalf("%s is cordoned and keeps %d", n.ID, n.Shards)
			case n.Cordoned:
			case n.Shards < nodes[i].Shards && !n.Draining && len(takers) > 0 && n.Version != takers[0].Version:
				must += nodes[i].Shards - n.Shards
			}
			if len(takers) > 0 && len(transfers(after, n.ID)) != 0 && n.LeaseMillis >= 0 {
				t.Fatalf("%s has more to give: %v of %+v", n.ID, transfers(after, n.ID), after)
			}
		}
		least, most := 1<<30, 0
		for _, n := range takers {
			least, most = min(least, after[at[n.ID]].Shards), max(most, after[at[n.ID]].Shards)
			if gave := nodes[at[n.ID]].Shards - after[at[n.ID]].Shards; gave > 0 {
				must += gave
			}
		}
		for _, n := range nodes {
			if n.LeaseMillis >= 0 && (n.Draining || n.Cordoned && !resort) {
				must += n.Shards
			}
		}
		if len(takers) > 0 && (most > least+1 && !resort || moved != must) {
			t.Fatalf("between %d and %d shards, %d moved of %d", least, most, moved, must)
		}
	})
}

// TestRoom holds that the rooms of all takers suffice for the orphans, and that filling
// them makes nobody fuller than the average, rounded up.
func TestRoom(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawNodes(t)
		orphans := rapid.IntRange(0, 100).Draw(t, "orphans")
		takers := takers(nodes)
		total, rooms := orphans, 0
		for _, n := range takers {
			total += n.Shards
		}
		for _, n := range nodes {
			r := room(nodes, orphans, n.ID)
			rooms += r
			if r > 0 && (n.Draining || n.LeaseMillis < 0 || n.Version != takers[0].Version || n.Cordoned && Takes(nodes, "")) {
				t.Fatalf("%+v takes %d", n, r)
			}
			if r > 0 && n.Shards+r > (total+len(takers)-1)/len(takers) {
				t.Fatalf("%s with %d takes %d of %d", n.ID, n.Shards, r, total)
			}
		}
		if len(takers) > 0 && rooms < orphans {
			t.Fatalf("room for %d of %d", rooms, orphans)
		}
	})
}
