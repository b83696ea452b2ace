// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"testing"
	"time"
)

// TestP29_ThePauseOfARetryStaysInBounds goes through all attempts that a schedule may
// have, with the shortest and the longest pauses.
func TestP29_ThePauseOfARetryStaysInBounds(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, bounds := range [][2]time.Duration{{time.Millisecond, day}, {2 * time.Second, 10 * time.Minute}, {day, day}} {
		first, longest := bounds[0], bounds[1]
		want := first
		for attempts := uint32(1); attempts <= 100; attempts++ {
			if got := retryPause(attempts, first, longest); got < want*3/4 || got > want*5/4 {
				t.Errorf("from %s to %s, the pause after %d attempts is %s, want about %s", first, longest, attempts, got, want)
			}
			want = min(2*want, longest)
		}
	}
}
