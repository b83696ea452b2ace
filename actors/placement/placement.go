// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package placement is the seam between the runtime and what decides which node
// runs which actors.
//
// The actors of a store are spread over a fixed number of shards (see
// [github.com/troupe-dev/troupe/actors/store.ShardOf]). A shard is held by one node
// at a time, under an epoch that grows with each change of its holder. A node holds
// its shards under a lease; once that may have ended, the node stops by itself. (See
// Gray and Cheriton, Leases, SOSP 1989; Burrows, The Chubby lock service, OSDI 2006,
// for the sequencer that the epoch is.)
package placement

import "context"

// Placement says which node holds a shard, and takes part in that for one node. All
// methods may be called concurrently.
type Placement interface {
	// Self is the node that takes part. Its ID is another one once the node has lost
	// its lease and has come back: see Node.
	Self() Node

	// Holds reports whether this node holds a shard at this instant and its lease
	// has not ended by the strictest of its clocks. It is called once or twice a
	// call and neither blocks nor allocates.
	//
	// While it is true, no other node answers for an actor of the shard. A holder
	// that loses a shard hears of it by [Tenant.Lost] before Holds can be true for
	// that shard again.
	Holds(shard uint16) bool

	// Route is the holder of a shard as far as this node knows; false if it knows
	// of none. It neither blocks nor asks anybody.
	Route(shard uint16) (Route, bool)

	// Refresh asks who holds a shard. It is for a caller whose route proved stale,
	// or that knows of none; many callers at once cost one question.
	Refresh(ctx context.Context, shard uint16) (Route, bool, error)

	// Start takes part from now on: the node may be given shards, and tenant hears
	// of each. It must be called once, before Drain.
	Start(tenant Tenant) error

	// Drain takes no more shards and hands over those held, each after
	// [Tenant.Release]. It returns when none is held, or with ctx.
	Drain(ctx context.Context) error

	// Close ends taking part. What is still held is lost: [Tenant.Lost] has
	// returned for it when Close does.
	Close() error

	// Nodes lists the nodes that take part, this one included, in order of id.
	Nodes(ctx context.Context) ([]NodeStatus, error)
}

// Tenant runs the actors of the shards that its node holds. A Placement calls its
// methods from one goroutine for each shard at most.
type Tenant interface {
	// Gained says that the node holds shards from now on: what is due in them is
	// this node's to run. It returns soon.
	Gained(shards []uint16)

	// Release is asked for before shards are handed over. The tenant admits no more
	// calls for them, lets turns that have begun end, has every commit of them
	// settled, moves their streams, and forgets their actors. When it returns nil, the
	// next holder may begin. With ctx it returns at once: after an error the node
	// keeps the shards, since a commit may still be on its way, and Gained or Lost
	// follows for them.
	Release(ctx context.Context, shards []uint16) error

	// Lost says that the node holds shards no more, without having been asked. The
	// tenant forgets their actors: nothing of them is answered any more. It returns
	// soon, and waits for no commit.
	Lost(shards []uint16)

	// Load says how much runs here, for those who look at the cluster. It is asked
	// with each renewal of the lease, beside the other methods, and returns at once.
	Load() Load
}

// Load is what a node runs at one moment.
type Load struct {
	// Actors is how many are in memory.
	Actors int64
	// Calls is how many run or wait.
	Calls int64
}

// Node describes a process that takes part.
type Node struct {
	// ID names one stay in the cluster: a start of a process, and a new one each time
	// that it comes back after it has lost its lease. It is never used again.
	ID string
	// Address is where other nodes reach this one, as host:port. It is empty if
	// there are no others.
	Address string
	// Version orders the versions of the user's program. A shard that needs a
	// holder goes to a node of the highest one.
	Version uint64
	// Labels are for those who run the cluster; they mean nothing to placement.
	Labels map[string]string
}

// Route is who holds a shard.
type Route struct {
	// Node is the holder.
	Node Node
	// Epoch grows with each change of holder.
	Epoch uint64
}

// NodeStatus is what is known of a node.
type NodeStatus struct {
	Node
	// Shards is how many shards it holds.
	Shards int
	// Draining says that it takes no more shards, because it stops or has only just
	// come.
	Draining bool
	// Cordoned says that somebody has asked it to hold no shards. It hands over those
	// it holds and is given none, as long as there is a node that takes them: while
	// there is none it keeps what it holds, and takes what would else be nobody's.
	Cordoned bool
	// Load is what it ran when it was heard of last.
	Load Load
	// LeaseMillis is how long its lease still lasts, in ms; negative if it ended, 0
	// for a node that needs none.
	LeaseMillis int64
}
