// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"math/rand/v2"
	"time"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// Defaults of what bounds subscriptions.
const (
	defaultStreamAge      = time.Hour
	defaultMaxConnections = 5_000
)

// MaxConnections is how many connections an actor may have at once. Default 5,000.
// One more is refused with resource_exhausted.
func MaxConnections(n int) Option {
	return positive("MaxConnections", n, func(l *limits) { l.connections = n })
}

// admitConnection refuses a connection too many.
func (i *instance) admitConnection() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.conns) < i.typ.limits.connections {
		return nil
	}
	return &refusalError{retryable(refusal(connect.CodeResourceExhausted, "too_many_connections", notExecuted,
		"the actor has %d connections; try again later", len(i.conns)), time.Second)}
}

// expiry returns when a stream that begins now is over: a tenth earlier or later
// than its age, so that streams which began together do not end together.
func (h *Host) expiry(now time.Time) time.Time {
	age := h.streamAge
	return now.Add(age - age/10 + rand.N(age/5+1)) //nolint:gosec // it spreads load
}

// expire ends a stream that has reached its age. Its client connects again, with
// the cursor of the closing frame.
func (s *Subscription) expire(now time.Time) (expired bool) {
	if now.Before(s.expires) {
		return false
	}
	s.conn.close(closing{troupev1.CloseReason_CLOSE_REASON_EXPIRED, "the stream has reached its maximum age", 0})
	return true
}

// nextPulse returns when a stream that had a frame at sentAt has something to do.
func (s *Subscription) nextPulse() time.Time {
	beat := s.sentAt.Add(s.host.heartbeat)
	if s.expires.Before(beat) {
		return s.expires
	}
	return beat
}
