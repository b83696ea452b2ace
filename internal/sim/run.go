// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/troupe-dev/troupe/actors/placement/cluster"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
)

// Run runs one history and returns what was counted, and the invariants that did not
// hold:
//
//   - no two nodes hold a shard at the same instant;
//   - no commit is taken from a node that does not hold its shard any more;
//   - once all is well again, every shard has a holder within five leases, all nodes
//     that may have as many as the others, those that are cordoned have none unless all
//     are, and nothing moves any more;
//   - a node that comes or goes moves no more shards than it has to;
//   - when the last node that takes shards is gone, those that are cordoned take them.
func Run(cfg Config) (Stats, []string) {
	w := &world{cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, 0)), slow: 1} //nolint:gosec // a seed is to be repeated
	w.epochs = make([]uint64, cfg.Shards)
	w.lease = cluster.Config{Shards: cfg.Shards}.WithDefaults()
	w.primary = w.newPrimary(placementtest.NewTable(w.lease), time.Hour)
	for range cfg.Nodes {
		w.newNode(1)
	}
	w.trouble()
	w.runUntil(cfg.Faults)
	w.heal()
	checks := []func(){w.settle}
	if cfg.Seed%4 == 0 { // they take as long as all the rest
		checks = append(checks, w.rest, w.join, w.leave, w.lastResort)
	}
	for _, check := range checks {
		if len(w.faults) == 0 {
			check()
		}
	}
	return w.Stats, w.faults
}

// heal ends what still goes wrong by the time that it has to end by itself, and sees
// to it that there are nodes.
func (w *world) heal() {
	w.cfg.Failovers = false
	w.runUntil(w.cfg.Faults + 4*w.lease.TTL)
	for len(w.alive()) < 2 {
		w.newNode(1)
	}
	w.nodes, w.slow = w.alive(), 0
	w.tracef("all is well from here on, with %d nodes", len(w.nodes))
}

// settle holds that every shard finds a holder again, and all takers have alike.
func (w *world) settle() {
	deadline := w.now + 5*w.lease.TTL
	for w.now < deadline && len(w.faults) == 0 {
		w.runUntil(w.now + time.Second)
		if w.unheld() == "" && w.uneven() == "" {
			return
		}
	}
	if why := w.unheld() + w.uneven(); why != "" && len(w.faults) == 0 {
		w.faultf("five leases after the last fault: %s", why)
	}
}

func (w *world) unheld() string {
	for s := range w.cfg.Shards {
		held := false
		for _, n := range w.nodes {
			held = held || n.has(w, s)
		}
		if !held {
			owner, epoch := w.primary.table.Holder(s)
			return fmt.Sprintf("nobody holds shard %d; the authority has %q under epoch %d", s, owner, epoch)
		}
	}
	return ""
}

// uneven looks at the nodes that do not drain and are not cordoned: of those of the
// highest version, and all are of it if none is older, none has two more than another.
// If there are such, one that is cordoned has none.
func (w *world) uneven() string {
	var newest uint64
	var takers, aside []*node
	for _, n := range w.alive() {
		if w.cordoned(n) {
			aside = append(aside, n)
		} else {
			takers, newest = append(takers, n), max(newest, n.version)
		}
	}
	for _, n := range aside {
		if n.count() > 0 && len(takers) > 0 {
			return fmt.Sprintf("%s is cordoned and holds %d shards", n.name, n.count())
		}
	}
	least, most := int(w.cfg.Shards), 0
	for _, n := range takers {
		if n.version == newest {
			least, most = min(least, n.count()), max(most, n.count())
		}
	}
	if most > least+1 {
		return fmt.Sprintf("nodes of one version hold between %d and %d shards", least, most)
	}
	return ""
}

// rest holds that nothing moves that need not.
func (w *world) rest() {
	w.runUntil(w.now + 2*w.lease.TTL) // what was under way
	moves := w.Moves
	w.runUntil(w.now + 3*w.lease.TTL)
	if w.Moves != moves && len(w.faults) == 0 {
		w.faultf("%d shards moved though nothing had happened", w.Moves-moves)
	}
}

// join holds that a node that comes is given its share, and nothing else moves.
func (w *world) join() {
	var newest uint64
	for _, n := range w.nodes {
		newest = max(newest, n.version)
	}
	moves := w.Moves
	n := w.newNode(newest)
	w.runUntil(w.now + 5*w.lease.TTL)
	if why := w.unheld() + w.uneven(); why != "" {
		w.faultf("after a node had joined: %s", why)
	}
	// Releases may fail, so a shard that was to move stays, but none moves twice.
	if moved := w.Moves - moves; moved > n.count()+1 && len(w.faults) == 0 {
		w.faultf("%d shards moved for a node that has got %d", moved, n.count())
	}
}

// leave holds that when a node dies its shards move, and no others.
func (w *world) leave() {
	victim := w.nodes[w.rand.IntN(len(w.nodes))]
	had, moves := victim.count(), w.Moves
	victim.killed = true
	w.tracef("%s is killed, with %d shards", victim.name, had)
	w.runUntil(w.now + 5*w.lease.TTL)
	w.nodes = w.alive()
	if why := w.unheld() + w.uneven(); why != "" {
		w.faultf("after a node had died: %s", why)
	}
	// With older nodes about, those that are left may have to give or get some more.
	if moved := w.Moves - moves; moved != had && !w.mixed(victim) && len(w.faults) == 0 {
		w.faultf("%d shards moved for a node that had %d", moved, had)
	}
}

// lastResort holds that cordoned nodes are empty as long as there is one that takes
// shards, and that none of these is nobody's when that one dies.
func (w *world) lastResort() {
	last := w.newNode(1)
	for _, n := range w.nodes {
		w.cordon(n, n != last)
	}
	w.runUntil(w.now + 5*w.lease.TTL)
	for _, n := range w.nodes { // who had not joined, or has come back meanwhile
		w.cordon(n, n != last)
	}
	w.runUntil(w.now + 5*w.lease.TTL)
	if why := w.unheld() + w.uneven(); why != "" && len(w.faults) == 0 {
		w.faultf("with all nodes but one cordoned: %s", why)
	}
	last.killed = true
	w.tracef("%s is killed, the last one that takes shards", last.name)
	w.runUntil(w.now + 5*w.lease.TTL)
	w.nodes = w.alive()
	if why := w.unheld(); why != "" && len(w.faults) == 0 {
		w.faultf("with all nodes cordoned: %s", why)
	}
}

func (w *world) mixed(with *node) bool {
	for _, n := range w.nodes {
		if n.version != with.version {
			return true
		}
	}
	return false
}
