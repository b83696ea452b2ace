// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
)

// streamWriter is the response of a subscription. Its writes must end in time, and
// it does not flush while more is about to be written.
type streamWriter struct {
	http.ResponseWriter
	watchdog

	limit time.Duration
	hold  bool
	since time.Time // when the watchdog was armed; zero if it is not
}

func newStreamWriter(w http.ResponseWriter, limit time.Duration) *streamWriter {
	s := &streamWriter{ResponseWriter: w, limit: limit}
	s.bite = func() { _ = http.NewResponseController(w).SetWriteDeadline(longAgo) }
	return s
}

// Unwrap is for [http.ResponseController].
func (s *streamWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Flush implements [http.Flusher].
func (s *streamWriter) Flush() {
	if s.hold {
		return
	}
	if flusher, ok := s.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}

// begin starts a write. Within a burst the watch goes on from write to write and
// is set anew once in a while, because each is soon followed by the next.
func (s *streamWriter) begin(more bool) {
	s.hold = more
	if now := time.Now(); s.since.IsZero() || now.Sub(s.since) > s.limit/8 {
		s.arm(s.limit)
		s.since = now
	}
}

// end ends a write.
func (s *streamWriter) end() {
	if s.hold {
		return
	}
	s.disarm()
	s.since = time.Time{}
}

// finish leaves the writer for the last bytes of the response, with a time of
// their own.
func (s *streamWriter) finish() {
	s.hold = false
	s.arm(s.limit)
}

type streamWriterKey struct{}

// frames writes the frames of one subscription. It belongs to one goroutine.
type frames struct {
	*exchange
	stream connect.ServerStream
	writer *streamWriter // nil when the subscription is not served over HTTP
}

var _ actors.Sink = (*frames)(nil)

// Open implements [actors.Sink]. The headers leave with the first frame.
func (f *frames) Open(reply actors.Reply) error {
	f.describe(&reply)
	return nil
}

// Send implements [actors.Sink].
func (f *frames) Send(frame *actors.Frame, more bool) error {
	if f.writer == nil {
		return f.stream.Send(frame)
	}
	f.writer.begin(more)
	err := f.stream.Send(frame)
	f.writer.end()
	return err
}

// subscribe serves a subscription.
func (e *edge) subscribe(ctx context.Context, m *actors.Method, stream connect.ServerStream) error {
	x, err := e.open(ctx, m, stream)
	if err != nil {
		return err
	}
	writer, _ := ctx.Value(streamWriterKey{}).(*streamWriter)
	if writer != nil {
		defer writer.finish()
	}
	return e.runner.Subscribe(ctx, &x.call, &frames{exchange: x, stream: stream, writer: writer})
}
