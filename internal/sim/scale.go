// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"math/rand/v2"
	"time"

	"github.com/troupe-dev/troupe/actors/placement/cluster"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
)

// Scene is something that happens to a large cluster, and what comes of it.
type Scene struct {
	Name string
	// Nodes is how many are alive afterwards.
	Nodes int
	// Moved is how many times a shard changed its holder.
	Moved int
	// Unheld is how many shards had no holder at the worst moment.
	Unheld int
	// Recovered is how long it took until every shard had a holder again, to a tenth of
	// a second.
	Recovered time.Duration
	// Balanced is how long it took until no node had two shards more than another.
	Balanced time.Duration
	// Beats, Reads and Others are requests to the database per second, in the 30 s
	// after: renewals, looks at what is held, at the cluster and at routes, and the rest.
	Beats, Reads, Others float64
}

// Scale runs a large cluster through what happens to one and says what came of it. There
// are no faults but those of the scenes.
func Scale(cfg Config) ([]Scene, []string) {
	cfg.Large = true
	w := &world{cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, 0))} //nolint:gosec // a seed is to be repeated
	w.epochs = make([]uint64, cfg.Shards)
	w.lease = cluster.Config{Shards: cfg.Shards}.WithDefaults()
	w.primary = w.newPrimary(placementtest.NewTable(w.lease), time.Hour)
	kill := func(n int) func() {
		return func() {
			for _, victim := range w.alive()[:n] {
				victim.killed = true
			}
		}
	}
	tenth := cfg.Nodes / 10
	scenes := []Scene{
		w.scene("start, within a minute", func() {
			for range cfg.Nodes {
				w.after(w.between(0, time.Minute), func() { w.newNode(1) })
			}
		}),
		w.scene("one node dies", kill(1)),
		w.scene("a tenth dies at once", kill(tenth)),
		w.scene("one node joins", func() { w.newNode(1) }),
		w.scene("a tenth joins at once", func() {
			for range tenth {
				w.newNode(1)
			}
		}),
		w.scene("one node drains", func() {
			w.alive()[0].drains = true
			w.step(w.alive()[0], cluster.Drain{})
		}),
	}
	return scenes, w.faults
}

// scene has something happen and waits until all is well again.
func (w *world) scene(name string, happen func()) Scene {
	const step = 100 * time.Millisecond
	s := Scene{Name: name}
	began, moves := w.now, w.Moves
	happen()
	if w.Moves == 0 { // the first nodes have yet to come
		w.runUntil(w.now + time.Minute)
	}
	for s.Balanced == 0 && w.now < began+10*time.Minute && len(w.faults) == 0 {
		w.runUntil(w.now + step)
		w.nodes = w.alive()
		unheld, even := w.state()
		s.Unheld = max(s.Unheld, unheld)
		switch {
		case unheld > 0:
			s.Recovered = 0
		case s.Recovered == 0:
			s.Recovered = w.now - began
		}
		// What has happened shows when leases end and nodes look again.
		if unheld == 0 && even && w.now > began+2*w.lease.TTL {
			s.Balanced = w.now - began
		}
	}
	s.Nodes, s.Moved = len(w.nodes), w.Moves-moves
	asked := w.asked
	w.runUntil(w.now + 30*time.Second)
	for op := range asked {
		rate := float64(w.asked[op]-asked[op]) / 30
		switch cluster.Op(op) {
		case cluster.Beat:
			s.Beats += rate
		case cluster.List, cluster.View, cluster.Find:
			s.Reads += rate
		default:
			s.Others += rate
		}
	}
	return s
}

// state says how many shards have no holder, and whether nodes that take shards have
// alike.
func (w *world) state() (unheld int, even bool) {
	has := make([]bool, w.cfg.Shards)
	least, most := int(w.cfg.Shards), 0
	for _, n := range w.nodes {
		count := 0
		if n.leased(w) {
			for s, held := range n.holds {
				if held {
					has[s] = true
					count++
				}
			}
		}
		if !n.drains {
			least, most = min(least, count), max(most, count)
		} else if count > 0 {
			least = -1 // it is not done
		}
	}
	for _, held := range has {
		if !held {
			unheld++
		}
	}
	return unheld, most <= least+1
}
