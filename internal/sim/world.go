// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// Config says what is simulated.
type Config struct {
	Seed   uint64
	Shards uint16
	Nodes  int
	// Faults is how long things go wrong. After that everything heals.
	Faults time.Duration
	// Failovers has the database replaced now and then by a copy that has lost the
	// last commits.
	Failovers bool
	// Large says that there are many nodes and nothing goes wrong that is not asked
	// for: no turns are taken, and that a shard has one holder is looked at when it is
	// gained only.
	Large bool
	// Trace, unless nil, is told everything.
	Trace func(line string)
}

// world is a history in the making.
type world struct {
	cfg     Config
	lease   cluster.Config
	rand    *rand.Rand
	now     time.Duration // real time
	events  events
	ordinal int

	nodes   []*node
	names   int
	primary *primary
	epochs  []uint64                   // of the shards, when one was moved last
	asked   [cluster.Rebalance + 1]int // requests that have come to a database, by Op
	slow    float64                    // how much slower the network is

	faults []string // invariants that did not hold
	Stats
}

// Stats counts what happened in a history.
type Stats struct {
	Steps, Commits, Refused, Moves, Failovers int
}

// event is something that happens at a time.
type event struct {
	at      time.Duration
	ordinal int // in order of planning, for those at the same time
	do      func()
}

type events []event

func (e *events) Len() int { return len(*e) }

func (e *events) Less(i, j int) bool {
	a, b := (*e)[i], (*e)[j]
	return a.at < b.at || a.at == b.at && a.ordinal < b.ordinal
}
func (e *events) Swap(i, j int) { (*e)[i], (*e)[j] = (*e)[j], (*e)[i] }
func (e *events) Push(x any)    { *e = append(*e, x.(event)) } //nolint:forcetypeassert // heap's own
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// after plans something.
func (w *world) after(d time.Duration, do func()) {
	w.ordinal++
	heap.Push(&w.events, event{at: w.now + d, ordinal: w.ordinal, do: do})
}

// runUntil lets time go by.
func (w *world) runUntil(end time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= end && len(w.faults) == 0 {
		e := heap.Pop(&w.events).(event) //nolint:forcetypeassert // heap's own
		w.now = e.at
		e.do()
	}
	w.now = max(w.now, end)
}

func (w *world) tracef(format string, args ...any) {
	if w.cfg.Trace != nil {
		w.cfg.Trace(fmt.Sprintf("%10.3fs ", w.now.Seconds()) + fmt.Sprintf(format, args...))
	}
}

func (w *world) faultf(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf("at %v: ", w.now)+fmt.Sprintf(format, args...))
	w.tracef("FAULT %s", w.faults[len(w.faults)-1])
}

// between is a duration in [low, high).
func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rand.Int64N(int64(high-low)))
}

func (w *world) chance(p float64) bool { return w.rand.Float64() < p }

// latency is how long a message takes: rarely very long.
func (w *world) latency() time.Duration {
	switch {
	case w.chance(0.01 * w.slow):
		return w.between(time.Second, 20*time.Second)
	case w.chance(0.05 * w.slow):
		return w.between(0, 2*time.Second)
	}
	return w.between(200*time.Microsecond, 10*time.Millisecond)
}
