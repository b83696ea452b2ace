// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
)

// TestP37_ASharedSubscriptionIsSilent holds that a subscription on a stream that has a
// heartbeat of its own says nothing while nothing happens, and tells its cursor when
// that has moved without an event.
func TestP37_ASharedSubscriptionIsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newBoards(t, nil)
		w := k.follow(func(c *actors.Call, _ *watcher) { c.Shared, c.Events = true, "alarm" })
		if opened := await(t, "opened frame", w.opened); opened.GetOpened().GetHeartbeatInterval() != nil {
			t.Errorf("opened is %v", opened)
		}
		pass(5 * time.Minute)
		if len(w.frames) > 0 {
			t.Fatalf("a frame came while nothing happened: %v", <-w.frames)
		}
		cursor := k.mustPublish(note("not wanted"))
		pass(31 * time.Second)
		if beat := await(t, "heartbeat", w.frames); beat.GetInfo().GetHeartbeat() == nil || beat.GetInfo().GetCursor() != cursor {
			t.Errorf("got %v, want a heartbeat with the cursor %s", beat, cursor)
		}
		pass(5 * time.Minute)
		k.mustPublish(alarm(1))
		w.want(t, "alarm1")
		w.cancel()
		<-w.ended
	})
}
