// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"slices"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

// transfer is a number of shards to hand to a node, or to nobody.
type transfer struct {
	to string
	n  int
}

// stays reports whether a node may hold shards for longer.
func stays(n placement.NodeStatus) bool { return n.LeaseMillis >= 0 && !n.Draining }

// takes reports whether a node may be given shards, but for its version.
func takes(n placement.NodeStatus) bool { return stays(n) && (!n.Cordoned || seedbug.On(41)) }

// takers are the nodes that may be given shards: those of the highest version. If there
// are none, the cordoned ones are: an actor that nobody runs is worse.
func takers(nodes []placement.NodeStatus) []placement.NodeStatus {
	if found := newest(nodes, takes); len(found) > 0 || seedbug.On(42) {
		return found
	}
	return newest(nodes, stays)
}

// newest are the nodes of the highest version among those that may.
func newest(nodes []placement.NodeStatus, may func(placement.NodeStatus) bool) []placement.NodeStatus {
	var found []placement.NodeStatus
	var version uint64
	for _, n := range nodes {
		if !may(n) || n.Version < version {
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
// what the plan gives them find nothing to do. A node that drains or is cordoned keeps
// nothing; while all are, those that are only cordoned keep what they hold. An older
// version is given nothing and keeps at most its share.
func transfers(nodes []placement.NodeStatus, self string) []transfer {
	takers := takers(nodes)
	target := make(map[string]int, len(nodes))
	var me placement.NodeStatus
	for _, n := range nodes {
		if n.ID == self {
			me = n
		}
	}
	switch {
	case len(takers) == 0:
		return []transfer{{to: "", n: me.Shards}} // takers are only missing if all are draining
	case takers[0].Cordoned && !me.Draining:
		return nil
	}
	total, active := 0, 0
	for _, n := range nodes {
		if n.LeaseMillis >= 0 {
			total += n.Shards
		}
		if stays(n) && n.Cordoned == takers[0].Cordoned {
			active++
		}
	}
	share := (total + active - 1) / active
	rest := total
	for _, n := range nodes {
		if takes(n) && n.Version != takers[0].Version {
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

// Surplus is how many shards are not where they are to be: those that nodes have to hand
// over and those that no node holds.
func Surplus(nodes []placement.NodeStatus, orphans int) int {
	surplus := orphans
	for _, n := range nodes {
		if n.LeaseMillis < 0 {
			continue // what it held is among the orphans
		}
		for _, t := range transfers(nodes, n.ID) {
			surplus += t.n
		}
	}
	return surplus
}

// Takes reports whether a node other than one, if that is not empty, is given shards.
func Takes(nodes []placement.NodeStatus, but string) bool {
	for _, n := range nodes {
		if takes(n) && n.ID != but {
			return true
		}
	}
	return false
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
