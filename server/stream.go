// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"google.golang.org/protobuf/proto"
)

// streams serves one streaming action.
type streams struct {
	edge   *edge
	method *actors.Method
}

func (s *streams) serve(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
	x, err := s.edge.open(ctx, s.method, stream)
	if err != nil {
		return err
	}
	action, err := s.edge.runner.Stream(ctx, &x.call)
	if err != nil {
		return x.refused(err)
	}
	defer action.Close()
	x.describe(&action.Reply)
	writer, _ := ctx.Value(streamWriterKey{}).(*streamWriter)
	sink := &messages{stream: stream, codec: x.call.Codec, writer: writer, limit: s.edge.replyBytes}
	if writer != nil {
		defer writer.finish()
	}
	return action.Serve(ctx, sink) //nolint:wrapcheck // ready for the wire
}

// messages writes the messages of one streaming action. It belongs to one
// goroutine.
type messages struct {
	stream connect.ServerStream
	codec  actors.Codec
	writer *streamWriter // nil if not over HTTP
	limit  int           // what a message may have
	body   rawMessage
}

var _ actors.MessageSink = (*messages)(nil)

// SendHeaders implements [actors.MessageSink].
func (m *messages) SendHeaders() error { return m.write(m.stream.SendHeaders) }

// Send implements [actors.MessageSink].
func (m *messages) Send(message proto.Message) (err error) {
	if m.body, err = m.codec.Append(m.body[:0], message); err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	if len(m.body) > m.limit {
		return replyTooLarge(len(m.body), m.limit, true)
	}
	return m.write(func() error { return m.stream.Send(&m.body) })
}

// write writes to the response, in time.
func (m *messages) write(send func() error) error {
	if m.writer != nil {
		m.writer.arm(m.writer.limit)
		defer m.writer.disarm()
	}
	if err := send(); err != nil {
		return callerGone.errorf("the caller is gone or takes nothing").WithCause(err)
	}
	return nil
}
