// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"

	"github.com/troupe-dev/troupe/actors/placement"
)

// Authority keeps which nodes are alive and what each holds. Ask may be called
// concurrently. Each request takes effect as a whole or not at all, at one instant; an
// error that is none of this package's says nothing about whether it did, or will.
type Authority interface {
	// Ask answers one request. It ends with ctx.
	Ask(ctx context.Context, q Request) (Answer, error)
}

var (
	// ErrDead is returned for a request of a node whose stay has ended: its lease
	// had, it was marked dead, or nobody knows it.
	ErrDead = errors.New("cluster: the stay of this node has ended")

	// ErrReceiver is returned when [Hand] names a node that is not alive, takes no
	// more shards, or is cordoned. Nothing was handed over.
	ErrReceiver = errors.New("cluster: the receiving node takes no shards")
)

// Op says what a [Request] asks for.
type Op uint8

const (
	// Join adds Request.Node, alive for TTL from now on, and draining until its
	// first Beat: a node that hears no answers must not be counted on. The answer
	// may give it another id. Request.Cordoned says that its last stay was.
	Join Op = iota + 1

	// Beat renews the lease of Request.Node and answers what it holds. It is
	// ErrDead, and stays so for ever, if the lease had ended by the authority's
	// clock. If the authority's generation is not Request.Generation nothing is
	// renewed. Request.Draining says whether the node takes no more shards,
	// Request.Load what it runs.
	Beat

	// List answers what Request.Node holds.
	List

	// View answers who is alive, how many shards each holds, and how many are held
	// by nobody who is.
	View

	// Claim marks the nodes dead whose lease has ended, and then gives Request.Node
	// at most Request.Limit shards that nobody or a dead node holds, each under the
	// next epoch. It answers with them. It gives none while unsettled.
	Claim

	// Hand gives the shards of Request.Grants that Request.Node holds under these
	// very epochs to the node Request.To, or to nobody if that is empty, each under
	// the next epoch. After an answer without an error none of them is held by
	// Request.Node under the named epoch, nor ever will be.
	Hand

	// Leave marks Request.Node dead, alive or not.
	Leave

	// Find answers who holds Request.Shards.
	Find

	// Cordon is asked by whoever runs the cluster: Request.To is to hold no shards, or
	// may again, by Request.Cordoned. It is ErrDead if that node's lease has ended.
	Cordon

	// Rebalance is asked by whoever runs the cluster: for TTL from now on nodes move
	// as many shards at once as when they drain.
	Rebalance
)

// Grant is a shard under the epoch that it is held in.
type Grant struct {
	Shard uint16
	Epoch uint64
}

// Request is a question of a node to the authority.
type Request struct {
	Op Op
	// Node is who asks, under the id of its present stay.
	Node placement.Node
	// Sent is when it was made, by the clocks of the node.
	Sent Instant
	// Seq orders the requests of a Machine; 0 for those that are not its own.
	Seq uint64
	// Generation is the last one that the node has heard of, for Beat.
	Generation uint64
	// Draining is for Beat.
	Draining bool
	// Load is for Beat.
	Load placement.Load
	// Cordoned is for Join and Cordon.
	Cordoned bool
	// Limit is for Claim.
	Limit int
	// Grants is for Hand.
	Grants []Grant
	// To is for Hand and Cordon.
	To string
	// Shards is for Find.
	Shards []uint16
}

// Answer is what the authority says.
type Answer struct {
	// ID is the id of the stay, unless it is that of the request. For Join.
	ID string
	// Generation counts how often the authority may have forgotten what it had said.
	Generation uint64
	// Settled says that the generation is older than TTL.
	Settled bool
	// Held is what the asking node holds, for Beat and List, or what it has been
	// given, for Claim.
	Held []Grant
	// Nodes are those that are not marked dead, in order of id. For View.
	Nodes []placement.NodeStatus
	// Orphans is how many shards no node holds whose lease lasts. For View.
	Orphans int
	// Hurry says that a Rebalance was asked for within TTL. For View.
	Hurry bool
	// Found are the holders of the shards that have one. For Find.
	Found []Found
}

// Found is the holder of a shard.
type Found struct {
	Shard uint16
	placement.Route
}
