// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"context"
	"math/rand/v2"
	"time"
)

// How a [Search] waits.
const (
	// Patience is how long a search goes on. A shard that is handed over is held
	// again well within it; one whose holder died is not.
	Patience = 2 * time.Second

	firstPause = 5 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// Search follows a shard over a change of its holder, for one call: a call goes to
// the holder that is known, and while that proves not to be the holder, asks anew.
// The zero value of everything but Placement and Shard is ready to use. It belongs to
// one goroutine.
type Search struct {
	Placement Placement
	Shard     uint16

	began time.Time
	pause time.Duration
}

// Elsewhere returns the holder as far as it is known; false if that is nobody, or
// the node itself.
func (s *Search) Elsewhere() (Node, bool) {
	route, ok := s.Placement.Route(s.Shard)
	if self := s.Placement.Self(); !ok || route.Node.ID == self.ID || route.Node.Address == self.Address {
		return Node{}, false
	}
	return route.Node, true
}

// Again asks who holds the shard, at once the first time and after a pause that
// grows from then on. False says that it is time to give up: [Patience] is over or
// ctx has ended.
func (s *Search) Again(ctx context.Context) bool {
	switch {
	case s.began.IsZero():
		s.began, s.pause = time.Now(), firstPause
	case time.Since(s.began) > Patience:
		return false
	default:
		timer := time.NewTimer(s.pause/2 + rand.N(s.pause)) //nolint:gosec // it spreads callers, it keeps no secret
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
		s.pause = min(2*s.pause, lastPause)
	}
	_, _, _ = s.Placement.Refresh(ctx, s.Shard) //nolint:dogsled // who cannot be asked now is asked again
	return ctx.Err() == nil
}
