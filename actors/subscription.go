// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"time"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Subscription is an open connection and its stream. It belongs to the goroutine
// that opened it, which feeds it and closes it.
type Subscription struct {
	// Reply says who has answered; it has no body.
	Reply Reply

	host       *Host
	method     *Method
	conn       *Conn
	shared     bool     // Call.Shared
	behind     bool     // what the peer gets next is in the log
	frames     []*Frame // taken out of the connection's queue
	considered uint64   // how far the peer has seen the actor's log

	unwatch func() bool // ends what signals the connection at the end of ctx
	pulse   *time.Timer // signals the connection at pulseAt
	pulseAt time.Time
	sentAt  time.Time
	expires time.Time
}

// Close takes the connection away from its actor and runs the disconnect hook.
func (s *Subscription) Close() {
	if s.pulse != nil {
		s.pulse.Stop()
		s.unwatch()
	}
	s.host.disconnect(s.conn)
	s.host.subscribers.Done()
}

// Feed writes frames to sink until the stream ends: one that says who the
// connection is, what the connect hook sent, then every event in commit order, and
// heartbeats. It returns nil after a closing frame, ctx's error when the peer is
// gone, and a *[connect.Error] or the sink's own error otherwise.
func (s *Subscription) Feed(ctx context.Context, sink Sink) error {
	s.begin(ctx)
	for {
		switch sent, why, err := s.drain(ctx, sink); {
		case err != nil:
			return err
		case sent:
			continue
		case why != nil:
			return s.end(sink, why)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if err := s.beat(sink); err != nil {
			return err
		}
		// A plain receive: events, the end of ctx and the pulse all signal the
		// connection, because a stream's goroutine spends its life here and a
		// select would double its stack.
		<-s.conn.signaled
	}
}

// begin sets up what signals the connection besides its events.
func (s *Subscription) begin(ctx context.Context) {
	if s.host.closing.Load() {
		s.conn.close(closing{reason: troupev1.CloseReason_CLOSE_REASON_SHUTDOWN, message: "the server is stopping", reconnectAfter: time.Second})
	}
	s.unwatch = context.AfterFunc(ctx, s.conn.signal)
	s.sentAt = time.Now()
	s.expires = s.host.expiry(s.sentAt)
	s.pulseAt = s.nextPulse()
	s.pulse = time.AfterFunc(s.pulseAt.Sub(s.sentAt), s.conn.signal)
}

// drain sends what waits in the connection's queue, or else in the log.
func (s *Subscription) drain(ctx context.Context, sink Sink) (sent bool, why *closing, err error) {
	if s.behind {
		return s.replay(ctx, sink)
	}
	s.frames, why = s.conn.take(s.frames)
	if len(s.frames) == 0 {
		return false, why, nil
	}
	return true, why, s.send(sink, s.frames)
}

// send writes frames in order.
func (s *Subscription) send(sink Sink, frames []*Frame) error {
	for n, frame := range frames {
		if err := sink.Send(frame, n+1 < len(frames)); err != nil {
			return err
		}
		s.considered = frame.head
		s.conn.sent()
	}
	s.conn.skipped.Store(0)
	s.sentAt = time.Now()
	return nil
}

// end sends the last frame of a stream. Its cursor is what the peer has seen: a
// slow peer's queue was dropped.
func (s *Subscription) end(sink Sink, why *closing) error {
	last := &troupev1.ConnectionClosing{Reason: why.reason, Message: why.message, Code: why.code}
	if !s.behind && why.reason != troupev1.CloseReason_CLOSE_REASON_SLOW {
		s.considered = s.conn.passed() // nothing is left in the queue
	}
	if why.reconnectAfter >= 0 {
		last.ReconnectAfter = durationpb.New(why.reconnectAfter)
	}
	if err := s.control(sink, &troupev1.EventInfo{Control: &troupev1.EventInfo_Closing{Closing: last}}); err != nil {
		return err
	}
	if why.reason == troupev1.CloseReason_CLOSE_REASON_SLOW {
		return retryable(refusal(connect.CodeResourceExhausted, "slow_subscriber", notExecuted, "%s", why.message), 0)
	}
	return nil
}

// control sends a control frame.
func (s *Subscription) control(sink Sink, info *troupev1.EventInfo) error {
	i := s.conn.inst
	info.Cursor, info.Head, info.Time = cursorText(s.conn.cursors, s.considered), s.considered, timestamppb.Now()
	frame, err := i.typ.events.controlFrame(info)
	if err != nil {
		return err
	}
	return sink.Send(frame, false)
}
