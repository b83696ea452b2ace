// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

// defaultUndurable is how many turns of one actor may run ahead of the disk.
const defaultUndurable = 64

// MaxUndurableTurns is how many turns of one actor may have changed something that
// is not durable yet; the next one that may change something waits. Default 64. With
// 1, no turn sees a change that can still be lost: calls of one actor then take one
// sync of the disk each.
func MaxUndurableTurns(n int) Option {
	return positive("MaxUndurableTurns", n, func(l *limits) { l.undurable = n })
}
