// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"syscall"
	"time"
)

// step is one fault, and the quiet after it.
type step struct {
	fault       fault
	node, other int           // to whom it happens
	length      time.Duration // how long it lasts
	rest        time.Duration
}

func (f step) String() string {
	return fmt.Sprintf("%s, node %d (and %d), %s", f.fault.name, f.node, f.other, f.length.Round(time.Millisecond))
}

// fault is something that happens to machines.
type fault struct {
	name string
	long bool // longer than a lease
	run  func(s *site, f step)
}

// faults are all that happen. Each leaves everything running.
var faults = []fault{
	{name: "a node is killed", run: func(s *site, f step) {
		s.nodes[f.node].Kill()
		s.pause(f.length)
		s.boot(f.node)
	}},
	{name: "a node is killed and its last commits are lost", run: func(s *site, f step) {
		link := s.network.link(f.node, database)
		s.holdCommits(f)
		link.set(condition{cut: true})
		s.nodes[f.node].Kill()
		s.network.heal()
		s.boot(f.node)
	}},
	{name: "a node is killed and its last commits arrive later", run: func(s *site, f step) {
		s.holdCommits(f)
		s.nodes[f.node].Kill()
		s.pause(f.length)
		s.network.heal()
		s.boot(f.node)
	}},
	{name: "a node is restarted", run: func(s *site, f step) {
		if err := s.nodes[f.node].Stop(); err != nil {
			s.t.Errorf("node %d: %v", f.node, err)
		}
		s.boot(f.node)
	}},
	{name: "a node is frozen past its lease", long: true, run: freeze},
	{name: "a node is frozen", run: freeze},
	{name: "a node is alone", long: true, run: func(s *site, f step) {
		links := [][2]int{{f.node, database}}
		for i := range siteNodes {
			if i != f.node {
				links = append(links, [2]int{f.node, i})
			}
		}
		s.silence(f.length, links...)
	}},
	{name: "a node's way to the database is cut", run: func(s *site, f step) {
		s.during(f.length, condition{cut: true}, pair{f.node, database})
	}},
	{name: "a node and the database do not hear each other for longer than a lease", long: true, run: func(s *site, f step) {
		s.silence(f.length, [2]int{f.node, database})
	}},
	{name: "the database does not hear a node", run: func(s *site, f step) {
		s.during(f.length, condition{holdThere: true}, pair{f.node, database})
	}},
	{name: "a node does not hear the database", run: func(s *site, f step) {
		s.during(f.length, condition{holdBack: true}, pair{f.node, database})
	}},
	{name: "two nodes are cut from each other", run: func(s *site, f step) {
		s.during(f.length, condition{cut: true}, pair{f.node, f.other}, pair{f.other, f.node})
	}},
	{name: "two nodes do not hear each other", run: func(s *site, f step) {
		s.silence(f.length, [2]int{f.node, f.other})
	}},
	{name: "a node does not hear another one", run: func(s *site, f step) {
		s.network.link(f.other, f.node).set(condition{holdThere: true})
		s.network.link(f.node, f.other).set(condition{holdBack: true})
		s.pause(f.length)
		s.network.heal()
	}},
	{name: "the database is stopped", run: func(s *site, f step) {
		s.server.Stop()
		s.pause(f.length)
		s.server.Start(s.t)
	}},
	{name: "the database is killed", run: func(s *site, f step) {
		s.server.Kill()
		s.pause(f.length)
		s.server.Start(s.t)
	}},
	{name: "answers to commits are swallowed", run: func(s *site, f step) {
		before := s.network.swallowed()
		all := []pair{{0, database}, {1, database}, {2, database}}
		for _, p := range all {
			s.network.link(p.from, p.to).set(condition{swallow: true})
		}
		s.eventually(30*time.Second, "the answer to a commit is swallowed", func() bool { return s.network.swallowed() > before })
		s.during(f.length, condition{swallow: true}, all...)
	}},
}

func freeze(s *site, f step) {
	s.signal(f.node, syscall.SIGSTOP)
	s.pause(f.length)
	s.signal(f.node, syscall.SIGCONT)
}

// holdCommits keeps the commits of a node from its database, and waits for some.
func (s *site) holdCommits(f step) {
	link := s.network.link(f.node, database)
	before := link.seen()
	link.set(condition{holdCommits: true})
	for began := time.Now(); link.seen() == before && time.Since(began) < 10*time.Second; { // it may run nothing
		s.pause(20 * time.Millisecond)
	}
	s.pause(f.length)
}

// during puts links into a condition for a time.
func (s *site) during(length time.Duration, c condition, links ...pair) {
	for _, p := range links {
		s.network.link(p.from, p.to).set(c)
	}
	s.pause(length)
	s.network.heal()
}

// silence has nothing arrive, either way, between the two of each link for a time.
func (s *site) silence(length time.Duration, links ...[2]int) {
	var both []pair
	for _, l := range links {
		both = append(both, pair{l[0], l[1]}, pair{l[1], l[0]})
	}
	s.during(length, condition{holdThere: true, holdBack: true}, both...)
}

// plan is the faults of a seed: all of them in some order, and so on.
func plan(seed uint64) iter.Seq2[int, step] {
	return func(yield func(int, step) bool) {
		random := rand.New(rand.NewPCG(seed, 0))
		between := func(from, to time.Duration) time.Duration {
			return from + time.Duration(random.Int64N(int64(to-from)))
		}
		for n := 0; ; {
			for _, i := range random.Perm(len(faults)) {
				f := step{fault: faults[i], node: random.IntN(siteNodes), length: between(time.Second/2, 2*time.Second), rest: between(300*time.Millisecond, time.Second)}
				f.other = (f.node + 1 + random.IntN(siteNodes-1)) % siteNodes
				if f.fault.long {
					f.length += 10 * time.Second // a lease has 10, and its node stops at 8
				}
				if !yield(n, f) {
					return
				}
				n++
			}
		}
	}
}
