// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
)

func (k *boardKit) filtered(events, resume string) *watcher {
	return k.follow(func(c *actors.Call, _ *watcher) { c.Events, c.Resume = events, resume })
}

// TestAFilterByEvent names events as the schema or JSON has them, live and replayed.
func TestAFilterByEvent(t *testing.T) {
	t.Parallel()
	k := newBoards(t, nil)
	start := k.mustPublish()
	live := k.filtered("alarm, cursorMoved", "")
	await(t, "opened frame", live.opened)
	k.mustPublish(note("a"), alarm(1), moved("ann", 1), ping(1), note("b"), alarm(2))
	k.mustPublish(note("c"))
	k.mustPublish(alarm(3))
	live.want(t, "alarm1", "ann1", "alarm2", "alarm3")
	replayed := k.filtered("alarm", start)
	replayed.want(t, "alarm1", "alarm2", "alarm3")
	k.mustPublish(note("d"), alarm(4))
	replayed.want(t, "alarm4")
	k.filtered("cursor_moved,note", start).want(t, "a", "b", "c", "d")
}

// TestABadFilterIsRefusedBeforeAnythingIsMade also refuses what is no cursor.
func TestABadFilterIsRefusedBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	k := newBoards(t, nil)
	for _, events := range []string{"info", "nothing", "note,", ",", "note;alarm"} {
		wantFailure(t, <-k.filtered(events, "").ended, failure{connect.CodeInvalidArgument, "bad_actor_events", notExecuted})
	}
	for _, cursor := range []string{"x", "-", "--", "1-2-3", "00000000000000000000000000-1-00"} {
		wantFailure(t, <-k.filtered("", cursor).ended, failure{connect.CodeInvalidArgument, "bad_actor_resume", notExecuted})
	}
	if list, err := k.List(t.Context(), store.ListQuery{Namespace: "default", Limit: 1}); err != nil || len(list) > 0 {
		t.Errorf("a refused subscription made %v, %v", list, err)
	}
}

// TestP34_ACursorAdvancesUnderAFilter follows one kind of event among many others,
// and resumes although the window is short: the cursor it has names what the server
// has considered.
func TestP34_ACursorAdvancesUnderAFilter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newBoards(t, nil, actors.RetainEvents(actors.EventWindow{Count: 200}))
		w := k.filtered("alarm", "")
		await(t, "opened frame", w.opened)
		var cursor string
		for n := range 300 {
			cursor = k.mustPublish(note(fmt.Sprint(n)))
			synctest.Wait()
		}
		w.want(t, "heartbeat", "heartbeat")
		pass(15 * time.Second)
		beat := await(t, "heartbeat", w.frames)
		if got := beat.GetInfo().GetCursor(); got != cursor || beat.GetInfo().GetHead() != 300 {
			t.Errorf("the heartbeat is %v, want the cursor %s", beat, cursor)
		}
		k.mustPublish(note("passed"))
		ctx, cancel := contextWithTimeout(t)
		defer cancel()
		if err := k.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if got := await(t, "closing frame", w.closed).GetCursor(); got != cursorAt(cursor, 301) {
			t.Errorf("the closing cursor is %s after event 301", got)
		}
	})
}
