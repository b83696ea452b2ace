// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"sync/atomic"
	"time"
)

// gate bounds how much goes on at once. The zero gate lets nothing in.
type gate struct {
	limit int64
	open  atomic.Int64
}

func newGate(limit int) *gate { return &gate{limit: int64(limit)} }

// enter reports whether there was room; if so, leave must follow.
func (g *gate) enter() bool {
	if g.open.Add(1) <= g.limit {
		return true
	}
	g.open.Add(-1)
	return false
}

func (g *gate) leave() { g.open.Add(-1) }

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)
