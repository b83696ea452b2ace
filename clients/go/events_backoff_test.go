// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	troupe "github.com/troupe-dev/troupe/clients/go"
)

// TestEventsBackoff checks each wait against its bound, that waits really last as
// long as the status says, and that a stable stream starts the back-off anew.
func TestEventsBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := part{refuse: connect.NewError(connect.CodeUnavailable, "refused")}
		parts := make([]part, 10, 13)
		for i := range parts {
			parts[i] = down
		}
		parts = append(parts,
			part{frames: frames(openedFrame(false)), pause: time.Second, end: io.EOF},     // not stable
			part{frames: frames(openedFrame(true)), pause: 4 * time.Second, end: io.EOF},  // not stable
			part{frames: frames(openedFrame(true)), pause: 11 * time.Second, end: io.EOF}, // silent for too long: cut after 5 s
		)
		s := &script{parts: parts}
		ctx, cancel := context.WithCancel(t.Context())
		var waits []time.Duration
		var waiting time.Time
		status := troupe.OnStatus(func(st troupe.Status) {
			switch st.State {
			case troupe.Waiting:
				waits = append(waits, st.RetryIn)
				waiting = time.Now()
				if len(waits) == 14 {
					cancel()
				}
			case troupe.Connecting:
				if n := len(waits); n > 0 && time.Since(waiting) != waits[n-1] {
					t.Errorf("wait %d lasted %v, not the announced %v", n, time.Since(waiting), waits[n-1])
				}
			}
		})
		if _, err := play(ctx, t, s, 0, status); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		limit := 250 * time.Millisecond
		for i, wait := range waits {
			if wait < 0 || wait >= limit {
				t.Errorf("wait %d is %v, want less than %v", i, wait, limit)
			}
			limit = min(2*limit, 30*time.Second)
		}
	})
}

func TestEventsBackoffBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		quiet := openedFrame(true)
		quiet.GetInfo().GetOpened().HeartbeatInterval = nil // no watchdog
		down := part{refuse: connect.NewError(connect.CodeUnavailable, "refused")}
		s := &script{parts: []part{
			down, down, down, down, down, down, down, down,
			{frames: frames(quiet), pause: 10 * time.Second, end: io.EOF},
			{frames: frames(posted(1))},
		}}
		if _, err := play(t.Context(), t, s, 1); err != nil {
			t.Fatal(err)
		}
		opens := s.opened()
		wait := opens[9].at.Sub(opens[8].at) - 10*time.Second
		if wait < 0 || wait >= 250*time.Millisecond {
			t.Errorf("after a stable stream the wait is %v, want less than 250 ms", wait)
		}
	})
}

// TestEventsWithBackoff checks that waits keep to the bounds of the option.
func TestEventsWithBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parts := slices.Repeat([]part{{refuse: connect.NewError(connect.CodeUnavailable, "refused")}}, 100)
		s := &script{parts: append(parts, part{frames: frames(posted(1))})}
		var waits []time.Duration
		status := troupe.OnStatus(func(st troupe.Status) {
			if st.State == troupe.Waiting {
				waits = append(waits, st.RetryIn)
			}
		})
		if _, err := play(t.Context(), t, s, 1, status, troupe.WithBackoff(time.Millisecond, 5*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		for i, wait := range waits {
			if limit := []int64{1, 2, 4, 5}[min(i, 3)]; wait >= time.Duration(limit)*time.Millisecond {
				t.Errorf("wait %d is %v, want less than %d ms", i, wait, limit)
			}
		}
		if longest := slices.Max(waits); len(waits) != 100 || longest < 4*time.Millisecond {
			t.Errorf("of %d waits the longest is %v: the bound of 5 ms is not reached", len(waits), longest)
		}
	})
}

// TestEventsJitter checks that waits differ: clients that lost one server do not
// come back together.
func TestEventsJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := make(map[time.Duration]bool)
		for range 20 {
			s := &script{parts: []part{
				{refuse: connect.NewError(connect.CodeUnavailable, "refused")},
				{frames: frames(posted(1))},
			}}
			if _, err := play(t.Context(), t, s, 1); err != nil {
				t.Fatal(err)
			}
			opens := s.opened()
			seen[opens[1].at.Sub(opens[0].at)] = true
		}
		if len(seen) < 15 {
			t.Errorf("20 clients waited only %d different times", len(seen))
		}
	})
}
