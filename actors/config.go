// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"log/slog"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/proto"
)

// Config configures a [Host].
type Config struct {
	// Registry holds the actor types. Required.
	Registry *Registry
	// Store keeps the actors. Required; the host does not close it.
	Store store.Store
	// Validate, unless nil, checks requests, inputs and connection parameters.
	// It returns a *[connect.Error] for the caller.
	Validate func(proto.Message) error
	// Logger is where the host writes; nil means [slog.Default].
	Logger *slog.Logger
	// Heartbeat is the longest silence of a subscription. 0 means 15 s.
	Heartbeat time.Duration
	// CheckReads encodes the state before and after each read-only action, and
	// fails one that changed it. It is for development and tests.
	CheckReads bool
	// ScheduledTurns is how many actors may run a schedule at one time. 0 means
	// 64. What is due beyond it waits.
	ScheduledTurns int
	// ConcurrentWakes is how many actors come into memory at one time. 0 means
	// 256. One more waits for 2 s and is then refused with unavailable.
	ConcurrentWakes int
	// MemoryLimit is what the live heap of the last collection is compared with,
	// in bytes. From 60 % of it on idle actors sleep, the longest unused first;
	// from 85 % no actor comes into memory, and from 95 % nothing is written:
	// calls are refused with resource_exhausted. It does not set Go's own limit.
	// 0 means GOMEMLIMIT, if that is set.
	MemoryLimit int64
	// MaxCallDepth is how many actors may wait for each other in one chain of
	// calls. 0 means 16.
	MaxCallDepth int
	// MaxReplyBytes bounds the reply of a unary method, as it is encoded for the
	// caller. A turn that answers with more is rolled back, and its caller refused
	// with resource_exhausted. 0 means 4 MiB.
	MaxReplyBytes int
	// WakeRate is how many sleeping actors are woken in a second for what is due.
	// 0 means 500.
	WakeRate int
	// MaxStreamAge is how long a subscription lasts, give or take a tenth; it
	// then ends with CLOSE_REASON_EXPIRED and a cursor. 0 means 1 h.
	MaxStreamAge time.Duration
	// Placement, unless nil, says which actors the host runs: those of the shards
	// that the node holds. The host is its [placement.Tenant]; whoever makes the
	// host starts it, when the node can be reached, and drains and closes it
	// before [Host.Shutdown]. Nil means that the host runs all actors of the
	// store.
	Placement placement.Placement
	// Forward carries the calls of actors and of the edge to the nodes that run
	// them. Nil means that calls of actors which the node does not hold are
	// refused. It needs a Placement.
	Forward Forwarder

	liveHeap func() (live, cycle uint64) // unless nil, what tests say the heap is
}
