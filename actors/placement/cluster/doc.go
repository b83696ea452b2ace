// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster places the shards of a store on several nodes.
//
// An [Authority] keeps the truth: which nodes are alive, and which of them holds each
// shard under which epoch. A [Machine] is what one node knows and decides. It has no
// clock, no goroutine and no connection: [Machine.Step] takes one input with the time
// by both clocks of the node and returns what is to be done, so that package
// internal/sim can run thousands of clusters out of their seeds. A [Member] runs one
// Machine against an Authority in real time and is the [placement.Placement] that the
// rest of the server sees.
//
// # Who may do what
//
// A node joins under an id that nobody has used before and never will: a stay. Its
// lease ends TTL after the authority heard of it last, by the authority's clock. The
// node itself counts from before it sent the renewal, on whichever of its clocks has
// gone further, and stops at four fifths of that. So the node has stopped before
// anybody may take its place as long as no clock runs a tenth too fast or too slow.
//
// A shard leaves a node in two ways only. The node hands it over itself, after its
// tenant has let go and has no commit of it on its way; having asked for that it never
// holds the shard again under the same epoch, whatever becomes of the question. Or the
// node's stay has ended: it is marked dead, which no commit of it survives, and only
// then are its shards claimed. A stay that has ended for the node, because its lease
// lapsed or because the authority says so, is never resumed: the node forgets
// everything and joins again as somebody new.
//
// # Who is asked to hold nothing
//
// A node that is cordoned, by those who run the cluster, hands over what it holds by the
// plan that all nodes have in common, as one that drains does, and the authority gives
// it nothing. But a shard that nobody holds is worse than one where it is not wanted:
// while no node takes shards, cordoned ones keep theirs, and take what would else be
// nobody's.
//
// # An authority that forgets
//
// A database that fails over may have lost the last things it had answered: claims,
// handovers, deaths. It then counts a new generation. Nobody gains a shard in a new
// generation before a whole TTL has passed in it, by when everybody has either heard
// of it or stopped. A node that beats finds out whether the authority still knows
// what it holds; if so it goes on, if not its stay ends.
package cluster
