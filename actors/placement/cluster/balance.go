// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"slices"

	"github.com/troupe-dev/troupe/actors/placement"
)

// transfer is a number of shards to hand to a node, or to nobody.
type transfer struct {
	to string
	n  int
}

// takers are the nodes that may be given shards: alive, not draining and of the
// highest version among those.
func takers(nodes []placement.NodeStatus) []placement.NodeStatus {
	var found []placement.NodeStatus
	var version uint64
	for _, n := range nodes {
		if n.Draining || n.LeaseMillis < 0 || n.Version < version {
			continue
		}
		if n.Version > version {
			version, found = n.Version, found[:0]
		}
		found = append(found, n)
	}
	return found
}

// room is how many of the orphans self may claim: as many as make it no fuller than
// the takers will be on average. The rooms of all of them suffice for all orphans.
func room(nodes []placement.NodeStatus, orphans int, self string) int {
	takers := takers(nodes)
	mine, total := -1, orphans
	for _, n := range takers {
		total += n.Shards
		if n.ID == self {
			mine = n.Shards
		}
	}
	if mine < 0 {
		return 0
	}
	share := (total + len(takers) - 1) / len(takers)
	return max(0, min(orphans, share-mine))
}

// transfers is what self should hand over, and to whom, so that all takers hold alike.
// Every node that looks at the same cluster finds the same plan, and nodes that hold
// what the plan gives them find nothing to do. A node that drains keeps nothing; an
// older version is given nothing and keeps at most its share.
func transfers(nodes []placement.NodeStatus, self string) []transfer {
	takers := takers(nodes)
	target := make(map[string]int, len(nodes))
	total, active, mine := 0, 0, 0
	for _, n := range nodes {
		if n.LeaseMillis < 0 {
			continue
		}
		total += n.Shards
		if !n.Draining {
			active++
		}
		if n.ID == self {
			mine = n.Shards
		}
	}
	if len(takers) == 0 {
		return []transfer{{to: "", n: mine}} // takers are only missing if all are draining
	}
	share := (total + active - 1) / active
	rest := total
	for _, n := range nodes {
		if n.LeaseMillis >= 0 && !n.Draining && n.Version != takers[0].Version {
			target[n.ID] = min(n.Shards, share)
			rest -= target[n.ID]
		}
	}
	slices.SortFunc(takers, func(a, b placement.NodeStatus) int {
		return cmp.Or(cmp.Compare(b.Shards, a.Shards), cmp.Compare(a.ID, b.ID))
	})
	for i, n := range takers {
		target[n.ID] = rest / len(takers)
		if i < rest%len(takers) {
			target[n.ID]++
		}
	}
	return match(nodes, takers, target, self)
}

// match pairs what nodes have too much of with what others lack, both in order, and
// returns self's part.
func match(nodes, takers []placement.NodeStatus, target map[string]int, self string) []transfer {
	from, excess := 0, 0 // of all that is too much, self's is [from, from+excess)
	for _, n := range nodes {
		over := n.Shards - target[n.ID]
		if n.LeaseMillis < 0 || over <= 0 {
			continue
		}
		if n.ID == self {
			excess = over
			break
		}
		from += over
	}
	var plan []transfer
	at := 0
	for _, n := range takers {
		lack := target[n.ID] - n.Shards
		if lack <= 0 {
			continue
		}
		if overlap := min(at+lack, from+excess) - max(at, from); overlap > 0 {
			plan = append(plan, transfer{to: n.ID, n: overlap})
		}
		at += lack
	}
	return plan
}
