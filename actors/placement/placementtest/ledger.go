// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placementtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// ledger is who has which shards, for several tenants.
type ledger struct {
	mu     sync.Mutex // guards the fields below
	has    map[uint16]string
	faults []string
}

// holdings is a tenant that writes a ledger. A member that stops in time has told its
// tenant long before another may take its place, so no shard has two.
type holdings struct {
	*ledger
	name string
}

var _ placement.Tenant = (*holdings)(nil)

func (h *holdings) Gained(shards []uint16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range shards {
		if other, ok := h.has[s]; ok && other != h.name {
			h.faults = append(h.faults, fmt.Sprintf("%s gains shard %d, which %s has", h.name, s, other))
		}
		h.has[s] = h.name
	}
}

func (h *holdings) Release(_ context.Context, shards []uint16) error {
	h.Lost(shards)
	return nil
}

func (h *holdings) Lost(shards []uint16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range shards {
		if h.has[s] != h.name {
			h.faults = append(h.faults, fmt.Sprintf("%s loses shard %d, which it has not", h.name, s))
			continue
		}
		delete(h.has, s)
	}
}

// Load is what a tenant of so many shards might run.
func (h *holdings) Load() placement.Load {
	return placement.Load{Actors: int64(h.count()), Calls: 1}
}

func (h *holdings) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	count := 0
	for _, name := range h.has {
		if name == h.name {
			count++
		}
	}
	return count
}

// counts says for each tenant whether it has share shards or one more: 1 if so.
func counts(tenants []*holdings, share int) []int {
	fits := make([]int, len(tenants))
	for i, h := range tenants {
		if n := h.count(); n == share || n == share+1 {
			fits[i] = 1
		}
	}
	return fits
}

// gate is an authority that can be shut: then it does not answer.
type gate struct {
	cluster.Authority
	mu   sync.Mutex // guards down
	down bool
}

func (g *gate) shut(down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = down
}

func (g *gate) Ask(ctx context.Context, q cluster.Request) (cluster.Answer, error) {
	g.mu.Lock()
	down := g.down
	g.mu.Unlock()
	if down {
		return cluster.Answer{}, errors.New("placementtest: no answer")
	}
	return g.Authority.Ask(ctx, q)
}
