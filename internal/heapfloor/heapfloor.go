// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package heapfloor has the garbage collector of a server with a small heap wait until
// there is something to collect.
//
// The runtime collects each time that the heap has doubled. A server that holds 6 MB
// and makes 200 MB of garbage a second so collects thirty times a second, marks the
// same 6 MB again, and empties every sync.Pool. See "A Guide to the Go Garbage
// Collector" for what GOGC trades, and Uber's GOGC tuner of 2021 for the means: an
// object that nothing holds on to tells of the end of each collection, and the
// percentage is set anew if the heap has become another one.
package heapfloor

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Floor is the size in bytes up to which the heap of a server grows before it is collected.
const Floor = 64 << 20

const (
	// byDefault is the runtime's percentage, and the least that is set here.
	byDefault = 100

	// leastGoal is what the goal of the smallest heap is at that percentage, and it
	// grows with it: runtime.heapMinimum.
	leastGoal = 4 << 20
)

// What the runtime says of the collector. The goal of a heap is its live bytes and, of
// what is scanned with them, as many percent: see runtime.gcControllerState.
const (
	percentNow  = "/gc/gogc:percent"
	liveBytes   = "/gc/heap/live:bytes"
	stackBytes  = "/gc/scan/stack:bytes"
	globalBytes = "/gc/scan/globals:bytes"
)

// Hold has the collector wait until the heap has floor bytes; a heap of half of that and
// more is collected when it has doubled, as ever. Whoever has set a percentage, by the
// environment variable GOGC or by debug.SetGCPercent, before or afterwards, has the
// last word. A memory limit, of GOMEMLIMIT, is kept all the same. Only the first call of a
// process has an effect.
func Hold(floor uint64) {
	if os.Getenv("GOGC") == "" {
		(&keeper{floor: floor, set: byDefault}).adjust()
	}
}

// keeper sets the percentage after each collection.
type keeper struct {
	floor uint64
	set   uint64 // the percentage that it has set
}

// sentinel is what nothing holds on to. The pointer keeps it out of the blocks in which
// the runtime gathers small objects.
type sentinel struct{ _ *sentinel }

// adjust sets the percentage that the heap wants and has itself called after the next
// collection, one at a time. Someone else's percentage ends that. Between the end of a
// collection and the call, the goal is too high for a heap that has grown, which was no
// larger than the goal before.
func (k *keeper) adjust() {
	if percent() != k.set {
		return
	}
	// To set it stops the world for a moment, so small differences are let be.
	if want := k.want(read(liveBytes), read(stackBytes)+read(globalBytes)); want > k.set+k.set/8 || want < k.set-k.set/8 {
		debug.SetGCPercent(int(want))
		k.set = want
	}
	runtime.AddCleanup(new(sentinel), (*keeper).adjust, k)
}

// want is the percentage with which the goal of a heap is the floor.
func (k *keeper) want(live, roots uint64) uint64 {
	if live >= k.floor {
		return byDefault
	}
	return max(byDefault, min(k.floor*100/leastGoal, (k.floor-live)*100/max(live+roots, 1)))
}

func percent() uint64 { return read(percentNow) }

func read(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
