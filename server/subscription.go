// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

// streamWriter is the response of a subscription, whose writes must end in time.
type streamWriter struct {
	http.ResponseWriter
	watchdog

	limit time.Duration
	burst *bytes.Buffer // frames that wait for the rest of their burst; nil if none
}

func newStreamWriter(w http.ResponseWriter, limit time.Duration) *streamWriter {
	s := &streamWriter{ResponseWriter: w, limit: limit}
	s.bite = func() { _ = http.NewResponseController(w).SetWriteDeadline(longAgo) }
	return s
}

// Unwrap is for [http.ResponseController].
func (s *streamWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Flush implements [http.Flusher].
func (s *streamWriter) Flush() { _ = s.flush() }

// flush sends what has been written to the peer.
func (s *streamWriter) flush() error {
	if flusher, ok := s.ResponseWriter.(interface{ FlushError() error }); ok {
		return flusher.FlushError()
	}
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// gatherBytes is how much of a burst is written at a time. Below it net/http would
// cut the burst into its small buffers, a system call each.
const gatherBytes = 32 << 10

// bursts keeps the buffers of bursts between their streams.
var bursts = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// write writes one enveloped frame, and flushes unless more is about to follow: the
// frames of a burst are gathered first.
func (s *streamWriter) write(frame []byte, more bool) error {
	if more && s.burst == nil {
		s.burst = bursts.Get().(*bytes.Buffer) //nolint:forcetypeassert // the pool's only type
	}
	if s.burst == nil {
		return s.send(frame, true)
	}
	s.burst.Write(frame)
	if more && s.burst.Len() < gatherBytes {
		return nil
	}
	err := s.send(s.burst.Bytes(), !more)
	s.burst.Reset()
	if !more || err != nil {
		bursts.Put(s.burst)
		s.burst = nil
	}
	return err
}

// send writes to the response, in time.
func (s *streamWriter) send(data []byte, flush bool) error {
	if !seedbug.On(24) {
		s.arm(s.limit)
	}
	_, err := s.Write(data)
	if err == nil && flush {
		err = s.flush()
	}
	s.disarm()
	return err //nolint:wrapcheck // the peer is gone: the runtime only ends the stream
}

// finish leaves the writer for the last bytes of the response, with a time of
// their own.
func (s *streamWriter) finish() { s.arm(s.limit) }

type streamWriterKey struct{}

// frames writes the frames of one subscription. It belongs to one goroutine.
//
// All three protocols carry the messages of a stream alike, so the bytes that every
// subscriber shares go straight to the response: Connect has written the headers
// before them and writes the end of the stream after them.
type frames struct {
	stream connect.ServerStream
	codec  actors.Codec
	writer *streamWriter
	opened bool
}

var _ actors.Sink = (*frames)(nil)

// Send implements [actors.Sink].
func (f *frames) Send(frame *actors.Frame, more bool) error {
	if f.writer == nil { // not over HTTP
		return f.stream.Send(frame)
	}
	if !f.opened {
		f.opened = true
		if err := f.stream.SendHeaders(); err != nil {
			return err
		}
	}
	enveloped, err := frame.Enveloped(f.codec)
	if err != nil {
		return err
	}
	if err := f.writer.write(enveloped, more); err != nil {
		return callerGone.errorf("the subscriber is gone or takes nothing").WithCause(err)
	}
	return nil
}

// subscriptions serves the subscription of one actor type.
type subscriptions struct {
	edge   *edge
	method *actors.Method
}

// serve serves one subscription. What is on the stack below Feed stays there as
// long as the stream, for each of them: it is kept small.
func (s *subscriptions) serve(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
	subscription, sink, err := s.open(ctx, stream)
	if err != nil {
		return err
	}
	defer sink.close(subscription)
	return subscription.Feed(ctx, sink) //nolint:wrapcheck // ready for the wire
}

func (s *subscriptions) open(ctx context.Context, stream connect.ServerStream) (*actors.Subscription, *frames, error) {
	x, err := s.edge.open(ctx, s.method, stream)
	if err != nil {
		return nil, nil, err
	}
	subscription, err := s.edge.runner.Subscribe(ctx, &x.call)
	if err != nil {
		return nil, nil, x.refused(err)
	}
	x.describe(&subscription.Reply)
	writer, _ := ctx.Value(streamWriterKey{}).(*streamWriter)
	return subscription, &frames{stream: stream, codec: x.call.Codec, writer: writer}, nil
}

// close ends the subscription and leaves the writer to Connect.
func (f *frames) close(subscription *actors.Subscription) {
	subscription.Close()
	if f.writer != nil {
		f.writer.finish()
	}
}
