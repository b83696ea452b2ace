// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"strconv"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
)

// node is a process: a machine, what a member does around it, and a tenant.
type node struct {
	name    string
	machine *cluster.Machine
	version uint64

	// Its clocks: mono is what the monotonic one showed at since, wall how far the
	// other one is from it.
	rate      float64
	since     time.Duration
	mono      time.Duration
	wall      time.Duration
	suspended bool // the monotonic clock stands still

	jumps  bool // its wall clock is set now and then
	sleeps bool // its machine is suspended now and then

	stutters bool // see world.stutter
	killed   bool
	paused   bool
	backlog  []func() // what happens once it runs again
	cut      placementtest.Cut
	drains   bool // it was asked to

	holds    []bool          // by shard: what Member.Holds would say, but for the lease
	admits   []bool          // the tenant's: may turns begin
	unsaved  []int           // commits on their way
	releases map[uint64]bool // of the present stay
}

func (w *world) newNode(version uint64) *node {
	w.names++
	n := &node{
		name: "n" + strconv.Itoa(w.names), version: version,
		rate: w.rate(), since: w.now, wall: w.between(0, time.Hour),
		holds: make([]bool, w.cfg.Shards), admits: make([]bool, w.cfg.Shards),
		unsaved: make([]int, w.cfg.Shards), releases: make(map[uint64]bool),
	}
	n.machine = cluster.NewMachine(w.lease, placement.Node{ID: n.name, Version: version})
	w.nodes = append(w.nodes, n)
	w.trace("%s starts, version %d", n.name, version)
	w.tick(n)
	if !w.cfg.Large {
		w.work(n)
	}
	return n
}

// clock is the time as the node has it.
func (n *node) clock(now time.Duration) cluster.Instant {
	passed := time.Duration(float64(now-n.since) * n.rate)
	if n.suspended {
		return cluster.Instant{Mono: n.mono, Wall: n.mono + n.wall + passed}
	}
	return cluster.Instant{Mono: n.mono + passed, Wall: n.mono + n.wall + passed}
}

// suspend stops the monotonic clock, or lets it go on.
func (n *node) suspend(now time.Duration, suspended bool) {
	at := n.clock(now)
	n.since, n.mono, n.wall, n.suspended = now, at.Mono, at.Wall-at.Mono, suspended
}

// has is what Member.Holds would answer at this instant.
func (n *node) has(w *world, shard uint16) bool { return n.holds[shard] && n.leased(w) }

func (n *node) leased(w *world) bool {
	since, ok := n.machine.Lease()
	return !n.killed && ok && w.lease.Lasts(since, n.clock(w.now))
}

func (n *node) count() int {
	count := 0
	for _, held := range n.holds {
		if held {
			count++
		}
	}
	return count
}

// run does something in the process, once that runs.
func (n *node) run(do func()) {
	switch {
	case n.killed:
	case n.paused:
		n.backlog = append(n.backlog, do)
	default:
		do()
	}
}

func (w *world) tick(n *node) {
	if n.killed {
		return
	}
	n.run(func() { w.step(n, cluster.Tick{}) })
	w.after(w.between(w.lease.TTL/40, w.lease.TTL/15), func() { w.tick(n) })
}

// step is what cluster.Member does with an input.
func (w *world) step(n *node, in cluster.Input) {
	w.Steps++
	out := n.machine.Step(n.clock(w.now), in)
	for _, s := range out.Lost {
		n.holds[s] = false
	}
	for _, s := range out.Dropped {
		n.holds[s] = false
	}
	for _, s := range out.Gained {
		n.holds[s], n.admits[s] = true, true
	}
	w.alone(n, out.Gained)
	if out.Ended {
		w.trace("%s: the stay before %s ends, %d shards lost", n.name, n.machine.Self().ID, len(out.Lost))
		clear(n.admits)
		clear(n.releases)
		w.after(w.between(0, 200*time.Millisecond), func() {
			n.run(func() { w.step(n, cluster.Forgotten{}) })
		})
	}
	if len(out.Gained) > 0 {
		w.trace("%s gains %v", n.machine.Self().ID, out.Gained)
	}
	for _, r := range out.Release {
		w.release(n, r)
	}
	for _, q := range out.Requests {
		w.after(w.between(0, time.Millisecond), func() { n.run(func() { w.send(n, q) }) })
	}
	if out.Closed {
		w.trace("%s has left", n.name)
		n.killed = true
	}
}

// alone holds that nobody else holds what n does.
func (w *world) alone(n *node, gained []uint16) {
	if !n.leased(w) || w.cfg.Large && len(gained) == 0 {
		return
	}
	for _, other := range w.nodes {
		if other == n || !other.leased(w) {
			continue
		}
		if w.cfg.Large {
			for _, s := range gained {
				if other.holds[s] {
					w.fault("two nodes hold shard %d at once", s)
				}
			}
			continue
		}
		for s, held := range n.holds {
			if held && other.holds[s] {
				w.fault("%s and %s hold shard %d at once", n.machine.Self().ID, other.machine.Self().ID, s)
			}
		}
	}
}

// send sends a request, and sees to its one answer.
func (w *world) send(n *node, q cluster.Request) {
	answered := false
	answer := func(a cluster.Answer, err error) {
		if !answered {
			answered = true
			n.run(func() { w.step(n, cluster.Answered{Request: q, Answer: a, Err: err}) })
		}
	}
	w.after(w.lease.TTL/5, func() { answer(cluster.Answer{}, context.DeadlineExceeded) })
	if n.cut == placementtest.CutRequests {
		return
	}
	if n.stutters && q.Op == cluster.Beat {
		w.stutter(n)
	}
	p := w.primary
	w.after(w.latency(), func() {
		a, err, ok := w.ask(p, q)
		if ok && n.cut == placementtest.CutNothing {
			w.after(w.latency(), func() { answer(a, err) })
		}
	})
}

// release is the tenant letting go: it admits no turns and waits for its commits.
func (w *world) release(n *node, r cluster.Release) {
	n.releases[r.ID] = true
	for _, s := range r.Shards {
		n.admits[s] = false
	}
	give := w.now + w.lease.TTL
	stuck := !w.cfg.Large && w.chance(0.05)
	var look func()
	look = func() {
		if !n.releases[r.ID] {
			return // the stay has ended
		}
		busy := stuck
		for _, s := range r.Shards {
			busy = busy || n.unsaved[s] > 0
		}
		switch {
		case !busy:
			w.step(n, cluster.Released{ID: r.ID})
		case w.now > give:
			w.step(n, cluster.Released{ID: r.ID, Err: context.DeadlineExceeded})
		default:
			w.after(w.between(time.Millisecond, 300*time.Millisecond), func() { n.run(look) })
		}
	}
	w.after(w.between(0, 300*time.Millisecond), func() { n.run(look) })
}

// work has the tenant take turns: it looks whether it holds the shard, and some time
// later its commit leaves.
func (w *world) work(n *node) {
	if n.killed || w.now > w.cfg.Faults+w.lease.TTL {
		return
	}
	n.run(func() {
		shard := uint16(w.rand.IntN(int(w.cfg.Shards)))
		if !n.admits[shard] || !n.has(w, shard) {
			return
		}
		c := commit{node: n, stay: n.machine.Self().ID, shard: shard}
		n.unsaved[shard]++
		settled := func() { n.unsaved[shard]-- }
		w.after(w.between(0, 20*time.Millisecond), func() {
			n.run(func() {
				p := w.primary
				if n.cut == placementtest.CutRequests {
					w.after(w.lease.TTL/5, settled)
					return
				}
				w.after(w.latency(), func() { w.arrive(p, c, settled) })
			})
		})
	})
	w.after(w.between(5*time.Millisecond, 250*time.Millisecond), func() { w.work(n) })
}
