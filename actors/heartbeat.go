// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"time"

	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// skippedFrames is how many events that a subscriber does not want pass before it
// gets a heartbeat for its cursor's sake.
const skippedFrames = 128

// beat sends a heartbeat if nothing was sent for its interval, or if the log has
// gone far ahead of what was sent. The pulse is set anew when it has come, not with
// every event.
func (s *Subscription) beat(sink Sink) error {
	now := time.Now()
	ahead := s.conn.skipped.Load() >= skippedFrames
	if now.Before(s.pulseAt) && !ahead {
		return nil
	}
	if s.expire(now) {
		return nil
	}
	if now.Sub(s.sentAt) >= s.host.heartbeat || ahead {
		head := s.conn.inst.head() // every event up to it is in the queue or has been sent
		if s.conn.waits() {
			return nil
		}
		news := head != s.considered
		if !s.behind {
			s.considered = head
		}
		s.sentAt = now
		s.conn.skipped.Store(0)
		if err := s.heartbeat(sink, news); err != nil {
			return err
		}
	}
	s.pulseAt = s.nextPulse()
	s.pulse.Reset(s.pulseAt.Sub(now))
	return nil
}

// heartbeat sends a heartbeat, unless it would say nothing on a stream that has one
// of its own.
func (s *Subscription) heartbeat(sink Sink, news bool) error {
	if s.shared && !news {
		return nil
	}
	return s.control(sink, &troupev1.EventInfo{Control: &troupev1.EventInfo_Heartbeat{Heartbeat: new(troupev1.Heartbeat)}})
}
