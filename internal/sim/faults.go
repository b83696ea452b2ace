// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"time"

	"github.com/troupe-dev/troupe/actors/placement/cluster"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
)

// mostNodes bounds how many run at once.
const mostNodes = 6

// alive are the processes that there are.
func (w *world) alive() []*node {
	var alive []*node
	for _, n := range w.nodes {
		if !n.killed {
			alive = append(alive, n)
		}
	}
	return alive
}

// trouble has something go wrong now and then, until the time for that is over.
func (w *world) trouble() {
	w.after(w.between(100*time.Millisecond, 5*time.Second), func() {
		if w.now < w.cfg.Faults {
			w.nodes = w.alive()
			if len(w.nodes) > 0 {
				w.goWrong(w.nodes[w.rand.IntN(len(w.nodes))])
			}
			w.trouble()
		}
	})
}

func (w *world) goWrong(n *node) {
	switch w.rand.IntN(16) {
	case 0, 1:
		w.pause(n, false)
	case 2:
		if !n.jumps { // whose monotonic clock stands still needs its wall clock
			n.sleeps = true
			w.pause(n, true)
		}
	case 3, 4:
		w.cutOff(n)
	case 5:
		if !n.sleeps {
			n.jumps = true
			jump := w.between(-time.Hour, time.Hour)
			n.wall += jump
			w.tracef("%s: the wall clock jumps by %v", n.name, jump)
		}
	case 6:
		w.tracef("%s is killed", n.name)
		n.killed = true
		w.restart(n)
	case 7:
		w.tracef("%s drains", n.name)
		n.drains = true
		n.run(func() { w.step(n, cluster.Drain{}) })
		w.after(w.between(time.Second, 20*time.Second), func() {
			n.run(func() { w.step(n, cluster.Close{}) })
		})
		w.restart(n)
	case 8:
		if len(w.nodes) < mostNodes {
			w.newNode(n.version + uint64(w.rand.IntN(2)))
		}
	case 9:
		to := w.nodes[w.rand.IntN(len(w.nodes))].machine.Self().ID
		shard := uint16(w.rand.IntN(int(w.cfg.Shards)))
		n.run(func() { w.step(n, cluster.Move{Shards: []uint16{shard}, To: to}) })
	case 10:
		w.slow = 8
		w.tracef("the database is slow")
		w.after(w.between(time.Second, 10*time.Second), func() { w.slow = 1 })
	case 11:
		if w.cfg.Failovers {
			w.failover()
		}
	case 12: // the answer to the next beat finds a process that stands still, and is the last one
		n.stutters = true
	case 13, 14:
		w.cordon(n, w.chance(0.6))
	case 15:
		w.command(cluster.Request{Op: cluster.Rebalance})
	}
}

// cordon has the authority know that a node is to hold no shards, or may again.
func (w *world) cordon(n *node, cordoned bool) {
	w.command(cluster.Request{Op: cluster.Cordon, To: n.machine.Self().ID, Cordoned: cordoned})
}

// command has the database take what somebody asks who runs the cluster.
func (w *world) command(q cluster.Request) {
	_, _, err := w.ask(w.primary, q)
	w.tracef("somebody asks for %d of %q, cordoned: %t; %v", q.Op, q.To, q.Cordoned, err)
}

// cordoned reports whether the authority has a node hold no shards.
func (w *world) cordoned(n *node) bool {
	answer, _ := w.primary.table.Ask(w.primary.clock(w.now), cluster.Request{Op: cluster.View}) // never fails
	for _, one := range answer.Nodes {
		if one.ID == n.machine.Self().ID {
			return one.Cordoned
		}
	}
	return false
}

// stutter stops a process for most of a lease, and cuts it off after that.
func (w *world) stutter(n *node) {
	n.stutters = false
	d := w.between(w.lease.TTL/10, w.lease.TTL*6/10)
	w.after(500*time.Microsecond, func() { w.stand(n, false, d) })
	w.after(d, func() { w.cutOff(n) })
}

// pause stops a process for a while, or suspends the machine that it runs on.
func (w *world) pause(n *node, suspend bool) {
	w.stand(n, suspend, w.between(time.Millisecond, 3*w.lease.TTL))
}

func (w *world) stand(n *node, suspend bool, d time.Duration) {
	if n.paused || n.killed {
		return
	}
	n.paused = true
	if suspend {
		n.suspend(w.now, true)
	}
	w.tracef("%s stands still for %v, suspended: %t", n.name, d, suspend)
	w.after(d, func() {
		n.paused = false
		if suspend {
			n.suspend(w.now, false)
		}
		w.tracef("%s goes on", n.name)
		backlog := n.backlog
		n.backlog = nil
		for _, do := range backlog {
			n.run(do)
		}
	})
}

func (w *world) cutOff(n *node) {
	n.cut = placementtest.CutRequests
	if w.chance(0.5) {
		n.cut = placementtest.CutAnswers
	}
	w.tracef("%s is cut off, %d", n.name, n.cut)
	w.after(w.between(time.Second, 2*w.lease.TTL), func() { n.cut = placementtest.CutNothing })
}

// restart has another process come in the place of one that is gone.
func (w *world) restart(n *node) {
	w.after(w.between(time.Second, 20*time.Second), func() {
		if len(w.alive()) < mostNodes {
			w.newNode(n.version)
		}
	})
}
