// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/proto"
)

// direct is the transport of a handle.
type direct struct {
	handles  Handles
	template Call  // lacks what a single call brings
	err      error // what makes every call fail
}

var _ connect.Transport = (*direct)(nil)

// NewClientStream implements [connect.Transport].
func (d *direct) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	if d.err != nil {
		return nil, d.err
	}
	if _, ok := d.handles.host.named[spec.Procedure]; !ok {
		return nil, refusal(connect.CodeUnimplemented, "unknown_method", notExecuted, "this server has no %s", spec.Procedure).WithRemote()
	}
	c := directCall{direct: d, spec: spec}
	c.ctx, c.cancel = context.WithCancel(ctx)
	if info, ok := connect.CallInfoForClientContext(ctx); ok {
		info.Spec, info.Codec = spec, binaryCodec{}.Name()
	}
	if spec.StreamType == connect.StreamTypeUnary {
		return &unaryCall{directCall: c}, nil
	}
	return newDirectStream(c), nil // no actor has another kind: see describeMethod
}

// directCall is one call in the process.
type directCall struct {
	*direct

	ctx     context.Context //nolint:containedctx // a stream is a call, and its methods take no context
	cancel  context.CancelFunc
	spec    connect.Spec
	request any
}

// SendHeaders implements [connect.ClientStream].
func (c *directCall) SendHeaders() error { return nil }

// Send implements [connect.ClientStream]. The request is copied when the call leaves,
// before its caller goes on.
func (c *directCall) Send(request any) error {
	c.request = request
	return nil
}

// CloseSend implements [connect.ClientStream].
func (c *directCall) CloseSend() error { return nil }

// Close implements [connect.ClientStream].
func (c *directCall) Close() error {
	c.cancel()
	return nil
}

// prepare makes the call that the host runs.
func (c *directCall) prepare() (*Call, error) {
	call := c.template
	call.Method = c.handles.host.named[c.spec.Procedure]
	call.Address.Type = call.Method.Type
	call.Request = call.Method.NewRequest()
	if err := copyMessage(call.Request, c.request); err != nil {
		return nil, refusal(connect.CodeInvalidArgument, "bad_request_body", notExecuted, "%s", err)
	}
	call.Info = &connect.CallInfo{Spec: c.spec, Codec: call.Codec.Name()}
	passOn(c.ctx, call.Info.RequestHeader())
	call.IdempotencyKey = call.Info.RequestHeader().Get(wire.HeaderIdempotencyKey)
	if len(call.IdempotencyKey) > wire.MaxIdempotencyKey {
		return nil, refusal(connect.CodeInvalidArgument, reasonBadKey, notExecuted, "idempotency-key has at most %d bytes", wire.MaxIdempotencyKey)
	}
	switch call.caller = callerOf(c.ctx, c.handles.host); {
	case call.caller != nil:
		call.Chain = call.caller.chain()
	case c.handles.from != nil && insideTurn():
		return nil, refusal(connect.CodeFailedPrecondition, "context_lost", notExecuted,
			"a call in a turn takes the context of the turn, which names those who wait for it")
	}
	return &call, nil
}

// callerOf returns the turn that calls with ctx; nil outside a turn.
func callerOf(ctx context.Context, h *Host) *turn {
	if t := turnOf(ctx); t != nil && t.inst.host == h && t.status.Load() == turnRunning {
		return t
	}
	return nil
}

// callees makes the context of a called actor: [connect.Server] is what puts a
// call's metadata there.
var callees = func() *connect.Server {
	s := connect.NewServer()
	s.SetUnknownHandler(func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
		return stream.(callee).run(ctx) //nolint:forcetypeassert // the only kind that is passed
	})
	return s
}()

// callee is what a call does inside its context.
type callee struct {
	connect.ServerStream

	run func(ctx context.Context) error
}

func inContextOf(ctx context.Context, call *Call, run func(ctx context.Context) error) error {
	return callees.Call(ctx, call.Method.Spec.Procedure, call.Info, callee{run: run})
}

// unaryCall is a call of an action.
type unaryCall struct {
	directCall

	done bool
}

var _ connect.ClientStream = (*unaryCall)(nil)

// Receive implements [connect.ClientStream]: it makes the call.
func (c *unaryCall) Receive(response any) error {
	if c.done {
		return io.EOF
	}
	c.done = true
	call, err := c.prepare()
	if err != nil {
		return err
	}
	var reply Reply
	err = inContextOf(c.ctx, call, func(ctx context.Context) (err error) {
		reply, err = c.handles.host.callDirectly(ctx, call)
		return err
	})
	if err != nil {
		return remoteError(c.ctx, err)
	}
	c.describe(&reply)
	return decodeInto(response, reply.Body)
}

// describe gives the caller the metadata of a reply.
func (c *directCall) describe(reply *Reply) {
	info, ok := connect.CallInfoForClientContext(c.ctx)
	if !ok {
		return
	}
	header := info.ResponseHeader()
	if reply.Header != nil {
		for name, values := range reply.Header.All() {
			header.SetValues(name, values)
		}
	}
	header.Set(wire.HeaderID, reply.ID.String())
	if reply.Cursor != "" {
		header.Set(wire.HeaderCursor, reply.Cursor)
	}
	if reply.Created {
		header.Set(wire.HeaderCreated, "true")
	}
}

func decodeInto(response any, encoded []byte) error {
	message, ok := response.(proto.Message)
	if !ok {
		return refusal(connect.CodeInternal, "bad_response", unknown, "a response is a message, and not %T", response)
	}
	if err := proto.Unmarshal(encoded, message); err != nil {
		return refusal(connect.CodeInternal, "bad_response", unknown, "the reply is not a %T", response).WithCause(err)
	}
	return nil
}

// callDirectly is [Host.Call] for a call from inside. One that a turn makes is let in
// while the host stops, because the host waits for that turn.
func (h *Host) callDirectly(ctx context.Context, call *Call) (Reply, error) {
	if call.caller == nil || call.caller.sleep {
		return h.Call(ctx, call)
	}
	h.inFlight.Add(1)
	defer h.leave()
	err := call.caller.reveal(ctx)
	if err == nil {
		var reply Reply
		if reply, err = h.run(ctx, call); err == nil {
			return reply, nil
		}
	}
	return Reply{}, wireError(ctx, h.log, call.Method, err)
}

// reveal waits until what the turn could have seen of the actor is durable, so that
// another actor may learn it.
func (t *turn) reveal(ctx context.Context) error {
	i := t.inst
	i.mu.Lock()
	pending := i.entry != nil
	i.mu.Unlock()
	if pending {
		i.host.committer.flushBeside() // whoever would, waits for this turn
		if err := i.durable(ctx); err != nil {
			return err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if t.generation != i.generation {
		return errDiscarded
	}
	return nil
}

// remoteError is what a client sees of an error that the host answers with: a peer's
// verdict without its causes, as if it had come over a wire.
func remoteError(ctx context.Context, err error) error {
	from, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return connect.NewError(connect.CodeUnknown, "").WithCause(err).WithRemote()
	}
	wire := connect.NewError(from.Code(), from.Message())
	for _, detail := range from.Details() {
		wire = wire.WithDetail(detail)
	}
	switch {
	case isChainError(from):
		wire = wire.WithCause(&refusalError{from}) // it passes each actor of the chain
	case ctx.Err() != nil && (from.Code() == connect.CodeCanceled || from.Code() == connect.CodeDeadlineExceeded):
		wire = wire.WithCause(ctx.Err())
	}
	return wire.WithRemote()
}
