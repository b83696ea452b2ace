// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"connectrpc.com/connect/v2"
	"pgregory.net/rapid"
)

func TestP34_ResumeReplaysTheLog(t *testing.T) {
	t.Parallel()
	check(t, map[string]func(*world, *rapid.T){
		"resume": (*world).resume, "resume again": (*world).resume, "resume elsewhere": (*world).resumeElsewhere,
		"turn": (*world).turn, "turn again": (*world).turn, "ahead": (*world).ahead, "unsubscribe": (*world).unsubscribe,
		"sleep": (*world).sleep, "destroy": (*world).destroy, "crash": (*world).crash, "stop": (*world).stop,
	})
}

var lostPlace = answer{connect.CodeOutOfRange, notExecuted, "cursor_out_of_range"}

// resume opens a stream after any event that there has been, or one that has not.
// Within the window it gets what the model's log has after that event, and goes on;
// otherwise it is refused.
func (w *world) resume(r *rapid.T) {
	key := someKey.Draw(r, "key")
	a := w.model.actors[key]
	if a == nil || len(w.streams) >= 4 {
		return
	}
	after := a.head + 1 - min(a.head+1, rapid.Uint64Range(0, retained+3).Draw(r, "events back"))
	cursor := w.cursor(a.id, after)
	s := w.open(r, key, cursor)
	synctest.Wait()
	what := fmt.Sprintf("a stream of %q after event %d of %d", key, after, a.head)
	if after > a.head || a.head-after > retained {
		s.refused(r, what)
		return
	}
	if !s.opened.GetOpened().GetResumed() || s.opened.GetCursor() != cursor || s.opened.GetHead() != a.head {
		r.Fatalf("%s opens with %v (%v)", what, s.opened, s.err)
	}
	s.want = slices.Clone(a.log[after:])
	w.streams = append(w.streams, s)
}

// resumeElsewhere opens a stream with the cursor of another actor, or of one that was
// destroyed.
func (w *world) resumeElsewhere(r *rapid.T) {
	key := someKey.Draw(r, "key")
	others := w.model.dead[max(0, len(w.model.dead)-2):]
	for _, other := range []string{"", "a", "b"} {
		if a := w.model.actors[other]; a != nil && other != key {
			others = append(slices.Clip(others), a.id)
		}
	}
	a := w.model.actors[key]
	if a == nil || len(others) == 0 {
		return
	}
	id := rapid.SampledFrom(others).Draw(r, "incarnation")
	s := w.open(r, key, w.cursor(id, rapid.Uint64Range(0, a.head).Draw(r, "event")))
	synctest.Wait()
	s.refused(r, fmt.Sprintf("a stream of %q with a cursor of %s", key, id))
}

// refused fails the history unless the stream was refused for its cursor.
func (s *stream) refused(r *rapid.T, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != nil || len(s.got) > 0 {
		r.Fatalf("%s opens with %v and brings %v", what, s.opened, s.got)
	}
	want(r, what, s.err, lostPlace)
}
