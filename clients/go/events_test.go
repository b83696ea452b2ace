// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	troupe "github.com/troupe-dev/troupe/clients/go"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

var ada = &chatv1.SubscribeRequest{User: "ada"}

// play follows a script until it ends or n events or gaps have come. It returns
// their ids ("gap" for a gap) and the last error.
func play(ctx context.Context, t *testing.T, s *script, n int, opts ...troupe.EventOption) (ids []string, err error) {
	t.Helper()
	for event, e := range troupe.Events(ctx, s.subscribe, ada, opts...) {
		switch {
		case errors.Is(e, troupe.ErrGap):
			ids = append(ids, "gap")
		case e != nil:
			err = e
		case event.GetInfo().GetControl() != nil:
			ids = append(ids, "control")
		default:
			ids = append(ids, event.GetMessagePosted().GetMessage().GetId())
		}
		if err == nil && len(ids) == n {
			break
		}
	}
	if leaked := s.leaked(); leaked != 0 {
		t.Errorf("%d streams are not closed", leaked)
	}
	return ids, err
}

// TestEventsResume checks that a broken stream is opened again with the cursor of
// the last frame, whatever its kind, and that control frames are not yielded.
func TestEventsResume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cut := connect.NewError(connect.CodeUnavailable, "cut")
		s := &script{parts: []part{
			{frames: frames(openedFrame(false), posted(1), posted(2)), end: cut},
			{frames: frames(openedFrame(true), posted(3), heartbeat("c9")), end: io.EOF},
			{frames: frames(openedFrame(true), posted(10))},
		}}
		ids, err := play(t.Context(), t, s, 4)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"1", "2", "3", "10"}, ids); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		var resumed []string
		for _, o := range s.opened() {
			resumed = append(resumed, o.resume)
		}
		if diff := cmp.Diff([]string{"", "c2", "c9"}, resumed); diff != "" {
			t.Errorf("cursors (-want +got):\n%s", diff)
		}
	})
}

// TestEventsWatchdog checks that a silent stream is cut after 2.5 heartbeat intervals,
// that frames keep it alive, and that a slow consumer is not mistaken for a dead
// server.
func TestEventsWatchdog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{parts: []part{
			{frames: frames(openedFrame(false), posted(1))},
			{frames: frames(openedFrame(true), posted(2))},
		}}
		var silent time.Duration
		var cause error
		start := time.Now()
		status := troupe.OnStatus(func(st troupe.Status) {
			if st.State == troupe.Waiting {
				silent, cause = time.Since(start), st.Err
			}
		})
		n := 0
		for _, err := range troupe.Events(t.Context(), s.subscribe, ada, status) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 2 {
				break
			}
			<-time.After(time.Minute) // the consumer is slow, not the server
			start = time.Now()
		}
		if silent != 5*time.Second {
			t.Errorf("cut after %v of silence (%v), want 5 s", silent, cause)
		}
		if got := s.opened()[1].resume; got != "c1" {
			t.Errorf("resumed from %q, want c1", got)
		}
	})
}

// TestEventsNoFirstFrame checks that a server that accepts a stream and says nothing
// is given up on.
func TestEventsNoFirstFrame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{parts: []part{{}, {frames: frames(posted(1))}}}
		start := time.Now()
		if _, err := play(t.Context(), t, s, 1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("gave up after %v, want 30 s", took)
		}
	})
}

func TestEventsClosing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{parts: []part{
			{frames: frames(openedFrame(false), posted(1), closing(troupev1.CloseReason_CLOSE_REASON_SHUTDOWN, durationpb.New(7*time.Second)))},
			{frames: frames(openedFrame(true), posted(2), closing(troupev1.CloseReason_CLOSE_REASON_DESTROYED, nil))},
		}}
		ids, err := play(t.Context(), t, s, 9)
		if diff := cmp.Diff([]string{"1", "2"}, ids); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		closed, ok := errors.AsType[*troupe.ClosedError](err)
		if !ok || closed.Reason != troupev1.CloseReason_CLOSE_REASON_DESTROYED || closed.Message != "bye" || closed.Error() == "" {
			t.Errorf("ended with %v, want a ClosedError", err)
		}
		opens := s.opened()
		if wait := opens[1].at.Sub(opens[0].at); wait < 7*time.Second || wait >= 7250*time.Millisecond {
			t.Errorf("waited %v, want the 7 s that the server asked for", wait)
		}
	})
}

func TestEventsOptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{parts: []part{{frames: frames(openedFrame(true), heartbeat("c7"), posted(8))}}}
		var states []string
		var open troupe.Status
		ctx, info := connect.NewClientContext(t.Context())
		info.RequestHeader().Set("authorization", "mine")
		ids, err := play(ctx, t, s, 3, troupe.WithControlFrames(), troupe.WithCursor("c6"),
			troupe.OnStatus(func(st troupe.Status) {
				states = append(states, st.State.String())
				if st.State == troupe.Open {
					open = st
				}
			}))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"control", "control", "8"}, ids); diff != "" {
			t.Errorf("frames (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"connecting", "open", "ended"}, states); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
		if want := (troupe.Status{State: troupe.Open, ConnectionID: "conn", ActorID: "a1", Resumed: true}); open != want {
			t.Errorf("status %+v, want %+v", open, want)
		}
		if got := s.opened()[0]; got.resume != "c6" || got.token != "mine" {
			t.Errorf("asked with %+v", got)
		}
		if got := troupe.State(9).String(); got != "state_9" {
			t.Errorf("State(9) = %q", got)
		}
	})
}

type notEvents struct{}

func (notEvents) Receive() (*chatv1.Message, error) { return nil, nil }
func (notEvents) Close() error                      { return nil }

func TestEventsOfWrongStream(t *testing.T) {
	t.Parallel()
	subscribe := func(context.Context, *chatv1.SubscribeRequest) (notEvents, error) { return notEvents{}, nil }
	for _, err := range troupe.Events(t.Context(), subscribe, ada) {
		if err == nil {
			t.Fatal("a stream of something else was taken for events")
		}
	}
}

// TestEventsGapIsToldWhenTheNextStreamIsOpen has the server refuse a cursor while it
// cannot be reached in between: the consumer hears of the gap once, with the stream
// open, so that what it reads then leaves no hole.
func TestEventsGapIsToldWhenTheNextStreamIsOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cut := connect.NewError(connect.CodeUnavailable, "cut")
		s := &script{parts: []part{
			{frames: frames(openedFrame(false), posted(1)), end: cut},
			{refuse: connect.NewError(connect.CodeOutOfRange, "too old").WithRemote()},
			{refuse: cut},
			{frames: frames(openedFrame(false), posted(9))},
		}}
		state := troupe.Connecting
		status := troupe.OnStatus(func(st troupe.Status) { state = st.State })
		var got []string
		for event, err := range troupe.Events(t.Context(), s.subscribe, ada, status) {
			switch {
			case errors.Is(err, troupe.ErrGap):
				if state != troupe.Open {
					t.Errorf("the gap is told while the subscription is %s", state)
				}
				got = append(got, "gap")
			case err != nil:
				t.Fatal(err)
			default:
				got = append(got, event.GetMessagePosted().GetMessage().GetId())
			}
			if len(got) == 3 {
				break
			}
		}
		if diff := cmp.Diff([]string{"1", "gap", "9"}, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
