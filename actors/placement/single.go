// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"context"
	"errors"
	"sync/atomic"
)

// Single is the placement of one node alone: it holds every shard from Start until
// Drain or Close, under epoch 1 and without a lease.
type Single struct {
	self   Node
	shards uint16
	tenant Tenant
	state  atomic.Uint32 // of singleNew and those after it
}

const (
	singleNew uint32 = iota
	singleHolds
	singleLeaves // Drain has asked the tenant to let go
	singleGone
)

var _ Placement = (*Single)(nil)

// NewSingle returns the placement of self over a store with that many shards.
func NewSingle(self Node, shards uint16) *Single {
	return &Single{self: self, shards: shards}
}

// Self implements [Placement].
func (s *Single) Self() Node { return s.self }

// Holds implements [Placement]. It is still true while Drain waits for the tenant,
// so that what has begun can end.
func (s *Single) Holds(shard uint16) bool {
	state := s.state.Load()
	return shard < s.shards && (state == singleHolds || state == singleLeaves)
}

// Route implements [Placement].
func (s *Single) Route(shard uint16) (Route, bool) {
	if !s.Holds(shard) {
		return Route{}, false
	}
	return Route{Node: s.self, Epoch: 1}, true
}

// Refresh implements [Placement]: there is nobody to ask.
func (s *Single) Refresh(_ context.Context, shard uint16) (Route, bool, error) {
	route, ok := s.Route(shard)
	return route, ok, nil
}

// Start implements [Placement].
func (s *Single) Start(tenant Tenant) error {
	s.tenant = tenant
	if !s.state.CompareAndSwap(singleNew, singleHolds) {
		return errors.New("placement: Start is called once, before Drain and Close")
	}
	tenant.Gained(s.all())
	return nil
}

// Drain implements [Placement]. There is nobody to hand over to: an error of the
// tenant leaves the shards held.
func (s *Single) Drain(ctx context.Context) error {
	if !s.state.CompareAndSwap(singleHolds, singleLeaves) {
		return nil
	}
	if err := s.tenant.Release(ctx, s.all()); err != nil {
		s.state.CompareAndSwap(singleLeaves, singleHolds)
		return err
	}
	s.state.CompareAndSwap(singleLeaves, singleGone)
	return nil
}

// Close implements [Placement]. It must not be called beside Drain.
func (s *Single) Close() error {
	if s.state.Swap(singleGone) == singleHolds {
		s.tenant.Lost(s.all())
	}
	return nil
}

// Nodes implements [Placement].
func (s *Single) Nodes(context.Context) ([]NodeStatus, error) {
	status := NodeStatus{Node: s.self, Draining: s.state.Load() >= singleLeaves}
	if s.Holds(0) {
		status.Shards = int(s.shards)
	}
	return []NodeStatus{status}, nil
}

func (s *Single) all() []uint16 {
	shards := make([]uint16, s.shards)
	for i := range shards {
		shards[i] = uint16(i)
	}
	return shards
}
