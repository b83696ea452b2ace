// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect/v2"
)

// unaryPolicy runs a unary call by calling once as often as it likes.
type unaryPolicy func(ctx context.Context, spec connect.Spec, once func(context.Context) error) error

// unaryCall is the stream of a unary call that a policy may send several times.
// It keeps the request until Receive and does everything there.
type unaryCall struct {
	ctx     context.Context //nolint:containedctx // a stream is a call, and its methods take no context; Close cancels it
	cancel  context.CancelFunc
	spec    connect.Spec
	next    connect.ClientFunc
	policy  unaryPolicy
	request any
	done    bool
}

var _ connect.ClientStream = (*unaryCall)(nil)

func newUnaryCall(ctx context.Context, spec connect.Spec, next connect.ClientFunc, policy unaryPolicy) *unaryCall {
	ctx, cancel := context.WithCancel(ctx)
	return &unaryCall{ctx: ctx, cancel: cancel, spec: spec, next: next, policy: policy}
}

func (c *unaryCall) SendHeaders() error { return nil }

func (c *unaryCall) Send(request any) error {
	c.request = request
	return nil
}

func (c *unaryCall) CloseSend() error { return nil }

func (c *unaryCall) Receive(response any) error {
	if c.done {
		return io.EOF
	}
	c.done = true
	sent := false
	return c.policy(c.ctx, c.spec, func(ctx context.Context) error {
		if sent {
			forgetResponse(ctx)
		}
		sent = true
		return c.once(ctx, response)
	})
}

func (c *unaryCall) Close() error {
	c.cancel()
	return nil
}

// once sends the call one time.
func (c *unaryCall) once(ctx context.Context, response any) (err error) {
	stream, err := c.next(ctx, c.spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	if err := stream.Send(c.request); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.Receive(response)
}

// forgetResponse removes what an earlier attempt left in the call's metadata.
func forgetResponse(ctx context.Context) {
	info, ok := connect.CallInfoForClientContext(ctx)
	if !ok {
		return
	}
	for _, h := range []*connect.Header{info.ResponseHeader(), info.ResponseTrailer()} {
		for name := range h.All() {
			h.Delete(name)
		}
	}
}
