// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actorstest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors/actorstest"
)

// TestTheEmbeddedStoreInBubbles runs the engine in one bubble after another, among
// which it must not share timers and channels.
func TestTheEmbeddedStoreInBubbles(t *testing.T) {
	t.Parallel()
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			srv, visits, life := setup(t, actorstest.Embedded())
			mustAdd(t, visits, 3, 3)
			pass(time.Minute)
			life.want(t, 1, 1)
			mustAdd(t, visits, 1, 4)
			srv.Restart()
			pass(time.Minute)
			mustAdd(t, visits, 1, 5)
		})
	}
}
