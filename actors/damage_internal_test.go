// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// TestUnusedNumber holds that a number is above what the record claims, whatever the
// clock says, unless the claim is out of all bounds.
func TestUnusedNumber(t *testing.T) {
	t.Parallel()
	now := time.UnixMicro(1000)
	for _, test := range []struct {
		now  time.Time
		said []uint64
		want uint64
	}{
		{now, nil, 1001},
		{now, []uint64{5, 7}, 1001},
		{now, []uint64{5, 2000}, 2001},
		{now, []uint64{2000, 5}, 2001},
		{now, []uint64{store.UnknownRevision, 1 << 63}, 1001},
		{time.UnixMicro(-1), []uint64{0, 3}, 4},
	} {
		if got := unusedNumber(test.now, test.said...); got != test.want {
			t.Errorf("at %v after %v: %d, want %d", test.now, test.said, got, test.want)
		}
	}
}
