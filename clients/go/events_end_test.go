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
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// TestEventsGap checks that missed events are told to the consumer once, and that the
// subscription then goes on from now.
func TestEventsGap(t *testing.T) {
	t.Parallel()
	tests := map[string]part{
		"refused with out_of_range": {refuse: failure(connect.CodeOutOfRange, "too old").WithRemote()},
		"first answer out_of_range": {end: failure(connect.CodeOutOfRange, "too old").WithRemote()},
		"opened without resuming":   {frames: frames(openedFrame(false)), end: io.EOF},
	}
	for name, lost := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &script{parts: []part{
					{frames: frames(openedFrame(false), posted(1)), end: io.EOF},
					lost,
					{frames: frames(openedFrame(true), posted(50))},
				}}
				ids, err := play(t.Context(), t, s, 3)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{"1", "gap", "50"}, ids); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
				if got := s.opened()[2].resume; got == "c1" {
					t.Errorf("resumed from the refused cursor")
				}
			})
		})
	}
}

// TestEventsGapEndsConsumer checks that a consumer may leave at a gap.
func TestEventsGapEndsConsumer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{parts: []part{{refuse: failure(connect.CodeOutOfRange, "too old").WithRemote()}, {frames: frames(openedFrame(false))}}}
		ids, err := play(t.Context(), t, s, 1, troupe.WithCursor("c1"))
		if diff := cmp.Diff([]string{"gap"}, ids); diff != "" || err != nil {
			t.Errorf("events (-want +got):\n%s\nerror %v", diff, err)
		}
	})
}

// TestEventsErrors checks which failures end a subscription.
func TestEventsErrors(t *testing.T) {
	t.Parallel()
	remote := func(code connect.Code) error { return failure(code, "").WithRemote() }
	tests := map[string]struct {
		part  part
		final bool
	}{
		"unavailable":                   {part{refuse: remote(connect.CodeUnavailable)}, false},
		"aborted":                       {part{refuse: remote(connect.CodeAborted)}, false},
		"deadline of the server":        {part{refuse: remote(connect.CodeDeadlineExceeded)}, false},
		"overloaded":                    {part{refuse: failure(connect.CodeResourceExhausted, "", retryIn(time.Second)).WithRemote()}, false},
		"slow reader":                   {part{frames: frames(openedFrame(false)), end: remote(connect.CodeResourceExhausted)}, false},
		"request too large":             {part{refuse: remote(connect.CodeResourceExhausted)}, true},
		"event too large":               {part{frames: frames(openedFrame(false)), end: connect.NewError(connect.CodeResourceExhausted, "")}, true},
		"not found":                     {part{refuse: remote(connect.CodeNotFound)}, true},
		"unauthenticated":               {part{refuse: remote(connect.CodeUnauthenticated)}, true},
		"permission denied":             {part{refuse: remote(connect.CodePermissionDenied)}, true},
		"invalid":                       {part{refuse: remote(connect.CodeInvalidArgument)}, true},
		"internal":                      {part{refuse: remote(connect.CodeInternal)}, true},
		"unknown":                       {part{refuse: remote(connect.CodeUnknown)}, true},
		"out of range without a cursor": {part{refuse: remote(connect.CodeOutOfRange)}, true},
		"HTTP 404":                      {part{refuse: connect.NewError(connect.CodeUnimplemented, "404")}, true},
		"a plain error":                 {part{refuse: errors.New("broken pipe")}, false},
		"reset in the middle":           {part{frames: frames(openedFrame(false)), end: connect.NewError(connect.CodeInternal, "RST_STREAM")}, false},
		"cannot marshal":                {part{refuse: connect.NewError(connect.CodeInternal, "marshal")}, true},
		"unknown, local":                {part{refuse: connect.NewError(connect.CodeUnknown, "")}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &script{parts: []part{test.part, {frames: frames(openedFrame(true), posted(1))}}}
				ids, err := play(t.Context(), t, s, 1)
				if test.final != (err != nil) || test.final != (len(ids) == 0) {
					t.Errorf("events %v, error %v; want final: %v", ids, err, test.final)
				}
			})
		})
	}
}

// TestEventsContext ends the caller's context in each state of a subscription.
func TestEventsContext(t *testing.T) {
	t.Parallel()
	tests := map[string]part{
		"waiting":     {refuse: failure(connect.CodeUnavailable, "", retryIn(time.Hour)).WithRemote()},
		"first frame": {},
		"open":        {frames: frames(openedFrame(false))},
	}
	for name, p := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				var last troupe.Status
				_, err := play(ctx, t, &script{parts: []part{p}}, 1, troupe.OnStatus(func(st troupe.Status) { last = st }))
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
					t.Errorf("error %v after %v", err, time.Since(start))
				}
				if last.State != troupe.Ended || !errors.Is(last.Err, context.DeadlineExceeded) {
					t.Errorf("last status %+v", last)
				}
			})
		})
	}
}

// TestEventsClosedSlowly checks that the cursor of a closing frame is not trusted: a
// server that cut a slow reader has dropped events before it.
func TestEventsClosedSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		last := closing(troupev1.CloseReason_CLOSE_REASON_SLOW, durationpb.New(0))
		last.Info.Cursor = "c99"
		s := &script{parts: []part{
			{frames: frames(openedFrame(false), posted(1), last)},
			{frames: frames(openedFrame(true), posted(2))},
		}}
		if _, err := play(t.Context(), t, s, 2); err != nil {
			t.Fatal(err)
		}
		if got := s.opened()[1].resume; got != "c1" {
			t.Errorf("resumed from %q, want c1", got)
		}
	})
}

// TestEventsCancelAndLeave ends the context and the loop at once.
func TestEventsCancelAndLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &script{parts: []part{{frames: frames(openedFrame(false), posted(1))}}}
		for _, err := range troupe.Events(ctx, s.subscribe, ada) {
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			break
		}
		if leaked := s.leaked(); leaked != 0 {
			t.Errorf("%d streams are not closed", leaked)
		}
	})
}
