// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/placement"
	"google.golang.org/protobuf/proto"
)

// partingTime is how long a stream in the process waits for its reader once the host
// stops.
const partingTime = time.Second

// directStream is a stream in the process: a subscription or a streaming action. A
// goroutine feeds it until the stream or its context ends; the host waits for it.
type directStream struct {
	directCall

	begin    sync.Once
	messages chan []byte   // encoded
	ended    chan struct{} // closed once err is set
	err      error
}

var _ connect.ClientStream = (*directStream)(nil)

func newDirectStream(c directCall) *directStream {
	return &directStream{directCall: c, messages: make(chan []byte), ended: make(chan struct{})}
}

// CloseSend implements [connect.ClientStream]: the request is complete, and the
// stream has begun when it returns.
func (s *directStream) CloseSend() error {
	s.start()
	return nil
}

// start begins the stream; what goes wrong is for Receive.
func (s *directStream) start() {
	s.begin.Do(func() {
		if err := s.open(); err != nil {
			s.end(err)
		}
	})
}

// end ends the stream, once.
func (s *directStream) end(err error) {
	s.err = err
	s.cancel()
	close(s.ended)
}

func (s *directStream) open() error {
	host := s.handles.host
	if insideTurn() || callerOf(s.ctx, host) != nil {
		return refusal(connect.CodeFailedPrecondition, "stream_in_turn", notExecuted,
			"%s streams, which would hold the turn: follow it in the work of Go", s.spec.Procedure)
	}
	call, err := s.prepare()
	if err != nil {
		return err
	}
	if host.elsewhere(call) {
		return s.follow(call)
	}
	return inContextOf(s.ctx, call, func(ctx context.Context) error {
		if call.Method.Subscription {
			return s.subscribe(ctx, call)
		}
		return s.act(ctx, call)
	})
}

// subscribe opens a connection and feeds the stream its frames.
func (s *directStream) subscribe(ctx context.Context, call *Call) error {
	subscription, err := s.handles.host.Subscribe(ctx, call)
	if err != nil {
		return remoteError(ctx, err)
	}
	s.describe(&subscription.Reply)
	go func() {
		err := subscription.Feed(ctx, frameReader{s})
		subscription.Close()
		s.end(s.verdict(err))
	}()
	return nil
}

// act runs a streaming action.
func (s *directStream) act(ctx context.Context, call *Call) error {
	action, err := s.handles.host.Stream(ctx, call)
	if err != nil {
		return remoteError(ctx, err)
	}
	s.describe(&action.Reply)
	go func() {
		var err error
		exited := true
		defer func() {
			if exited {
				err = wireError(ctx, s.handles.host.log, call.Method, goexit())
			}
			action.Close()
			s.end(s.verdict(err))
		}()
		err = action.Serve(ctx, messageReader{s})
		exited = false
	}()
	return nil
}

// follow has another node run the call, and feeds the stream what comes from there.
func (s *directStream) follow(call *Call) error {
	host := s.handles.host
	opened := make(chan error, 1)
	open := false
	go func() {
		err := host.reach(s.ctx, call, func() error { return errNotOwner }, func(node placement.Node) error {
			return host.forward.Follow(s.ctx, node, call, func(reply *Reply) error {
				s.describe(reply)
				open = true
				opened <- nil
				return nil
			}, s.put)
		})
		if !open {
			opened <- remoteError(s.ctx, wireError(s.ctx, host.log, call.Method, err))
			return
		}
		s.end(s.verdict(err))
	}()
	return <-opened
}

// verdict is what a reader sees at the end of a stream.
func (s *directStream) verdict(err error) error {
	switch {
	case err == nil:
		return io.EOF
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case errors.Is(err, errUnread):
		return err
	}
	return remoteError(s.ctx, err)
}

var errUnread = errors.New("actors: the stream's reader did not take its last messages")

// put hands a message to the reader, who takes it when it likes.
func (s *directStream) put(encoded []byte) error {
	quit := s.handles.host.quit
	var parting <-chan time.Time
	for {
		select {
		case s.messages <- encoded:
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

// frameReader is the reader of a subscription, as its feeder sees it.
type frameReader struct{ stream *directStream }

// Send implements [Sink].
func (r frameReader) Send(frame *Frame, _ bool) error {
	encoded, err := frame.Encoded(binaryCodec{})
	if err != nil {
		return err
	}
	return r.stream.put(encoded)
}

// messageReader is the reader of a streaming action.
type messageReader struct{ stream *directStream }

// SendHeaders implements [MessageSink].
func (messageReader) SendHeaders() error { return nil }

// Send implements [MessageSink].
func (r messageReader) Send(message proto.Message) error {
	encoded, err := proto.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	return r.stream.put(encoded)
}

// Receive implements [connect.ClientStream].
func (s *directStream) Receive(response any) error {
	s.start()
	select {
	case encoded := <-s.messages:
		return decodeInto(response, encoded)
	case <-s.ended:
		return s.err
	}
}
