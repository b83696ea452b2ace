// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"sync"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
)

// leaseCheck is how old an answer of the cluster may be that says whether the node
// takes part.
const leaseCheck = time.Second

// lease tells whether a node takes part in its cluster.
type lease struct {
	placement placement.Placement
	shards    uint16

	mu    sync.Mutex
	asked time.Time // guarded by mu
	alive bool      // guarded by mu
}

// lasts reports whether the node takes part: who holds a shard does, by its own clock;
// of a node that holds none the cluster knows, which is asked once a second at most.
func (l *lease) lasts(ctx context.Context) bool {
	for shard := range l.shards {
		if l.placement.Holds(shard) {
			return true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.asked) < leaseCheck {
		return l.alive
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseCheck) // the answer is for others too
	defer cancel()
	nodes, err := l.placement.Nodes(ctx)
	l.asked, l.alive = time.Now(), false
	for _, node := range nodes {
		if err == nil && node.ID == l.placement.Self().ID {
			l.alive = node.LeaseMillis >= 0
		}
	}
	return l.alive
}
