// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

// Input is something that has happened: [Tick], [Answered], [Released], [Forgotten],
// [Drain], [Move] or [Close].
type Input interface{ input() }

type (
	// Tick is time that has passed. It is due every fortieth of TTL.
	Tick struct{}

	// Answered is what became of a request of [Effects.Requests], or of a [Find].
	// Each gets exactly one, within a fifth of TTL.
	Answered struct {
		Request Request
		Answer  Answer
		Err     error
	}

	// Released is what became of a release of [Effects.Release]. Err nil says that
	// the tenant has let go.
	Released struct {
		ID  uint64
		Err error
	}

	// Forgotten says that the tenant has been told all of [Effects.Lost].
	Forgotten struct{}

	// Drain asks to take no more shards and to hand over those held.
	Drain struct{}

	// Move asks to hand over shards to a node, whatever the balance is. Those that
	// are not held are left out.
	Move struct {
		Shards []uint16
		To     string
	}

	// Close asks to end the stay for good.
	Close struct{}
)

func (Tick) input()      {}
func (Answered) input()  {}
func (Released) input()  {}
func (Forgotten) input() {}
func (Drain) input()     {}
func (Move) input()      {}
func (Close) input()     {}

// Effects is what has to be done after a step, in this order: what is Lost or Dropped
// is held no more, what is Gained is held, and then the rest.
type Effects struct {
	// Lost are shards that the stay ended with. [Forgotten] is owed once the tenant
	// knows, if Ended is set.
	Lost []uint16
	// Ended says that the stay has ended.
	Ended bool
	// Dropped are shards that the tenant has let go of and that are on their way to
	// another node.
	Dropped []uint16
	// Gained are shards that are held from now on, or still are although a release
	// had been asked for.
	Gained []uint16
	// Release are those that the tenant has to let go of. [Released] is owed for
	// each. Until then they are held.
	Release []Release
	// Requests are questions to the authority. [Answered] is owed for each.
	Requests []Request
	// Routes are news of who holds a shard, of the machine's generation.
	Routes []Found
	// Drained says that nothing is held any more and nothing will be.
	Drained bool
	// Closed says that the last stay has ended. Nothing else will happen.
	Closed bool
}

// Release is a group of shards that the tenant has to let go of.
type Release struct {
	ID     uint64
	Shards []uint16
}
