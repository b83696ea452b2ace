// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
)

// partingTime is how long a stream in the process waits for its reader once the host
// stops.
const partingTime = time.Second

// directStream is a subscription in the process. A goroutine feeds it until the
// stream or its context ends; the host waits for it.
type directStream struct {
	directCall

	begin  sync.Once
	frames chan *Frame
	ended  chan struct{} // closed once err is set
	err    error
}

var _ connect.ClientStream = (*directStream)(nil)

func newDirectStream(c directCall) *directStream {
	return &directStream{directCall: c, frames: make(chan *Frame), ended: make(chan struct{})}
}

// CloseSend implements [connect.ClientStream]: the request is complete, and the
// connection is open when it returns.
func (s *directStream) CloseSend() error {
	s.start()
	return nil
}

// start opens the connection; what goes wrong is for Receive.
func (s *directStream) start() {
	s.begin.Do(func() {
		if err := s.open(); err != nil {
			s.err = err
			s.cancel()
			close(s.ended)
		}
	})
}

func (s *directStream) open() error {
	host := s.handles.host
	if callerOf(s.ctx, host) != nil {
		return refusal(connect.CodeFailedPrecondition, "stream_in_turn", notExecuted,
			"%s is a stream, which would hold the turn: follow it in background work", s.spec.Procedure)
	}
	call, err := s.prepare()
	if err != nil {
		return err
	}
	if !call.Method.Subscription {
		return refusal(connect.CodeUnimplemented, "not_served", notExecuted, "%s is not the subscription", s.spec.Procedure)
	}
	var subscription *Subscription
	err = inContextOf(s.ctx, call, func(ctx context.Context) (err error) {
		subscription, err = host.Subscribe(ctx, call)
		return err
	})
	if err != nil {
		return remoteError(s.ctx, err)
	}
	s.describe(&subscription.Reply)
	go s.feed(subscription)
	return nil
}

// feed ends with the stream's context; Shutdown waits for the subscription.
func (s *directStream) feed(subscription *Subscription) {
	defer close(s.ended)
	err := subscription.Feed(s.ctx, (*readerSink)(s))
	subscription.Close()
	switch {
	case err == nil:
		s.err = io.EOF
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errUnread):
		s.err = err
	default:
		s.err = remoteError(s.ctx, err)
	}
	s.cancel()
}

var errUnread = errors.New("actors: the stream's reader did not take the last events")

// readerSink is the stream as its feeder sees it.
type readerSink directStream

// Send implements [Sink].
func (s *readerSink) Send(frame *Frame, _ bool) error {
	quit := s.handles.host.quit
	var parting <-chan time.Time
	for {
		select {
		case s.frames <- frame:
			return nil
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-quit:
			quit, parting = nil, time.After(partingTime)
		case <-parting:
			return errUnread
		}
	}
}

// Receive implements [connect.ClientStream].
func (s *directStream) Receive(response any) error {
	s.start()
	select {
	case frame := <-s.frames:
		encoded, err := frame.Encoded(binaryCodec{})
		if err != nil {
			return err
		}
		return decodeInto(response, encoded)
	case <-s.ended:
		return s.err
	}
}
