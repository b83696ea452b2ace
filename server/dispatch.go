// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/internal/wire"
)

// runner runs the calls that the edge hands over; [actors.Host] is one.
type runner interface {
	Call(ctx context.Context, call *actors.Call) (actors.Reply, error)
	Subscribe(ctx context.Context, call *actors.Call) (*actors.Subscription, error)
	Stream(ctx context.Context, call *actors.Call) (*actors.Stream, error)
}

var _ runner = (*actors.Host)(nil)

// edge turns RPCs into calls of actors. It is safe for concurrent use.
type edge struct {
	runner     runner
	codecs     codecs
	namespaces namespaces
	log        *slog.Logger
	replyBytes int // what a reply may have
	fair       *fairness
}

// handler returns what serves one method of an actor type.
func (e *edge) handler(m *actors.Method) connect.ServerFunc {
	switch {
	case m.Internal:
		return func(context.Context, connect.Spec, connect.ServerStream) error {
			return internalMethod.errorf("%s is internal: only actors call it", m.Spec.Procedure)
		}
	case m.Subscription:
		return (&subscriptions{e, m}).serve
	case m.Spec.StreamType != connect.StreamTypeUnary:
		return (&streams{e, m}).serve
	}
	return func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
		return e.call(ctx, m, stream)
	}
}

// call serves a unary call.
func (e *edge) call(ctx context.Context, m *actors.Method, stream connect.ServerStream) error {
	x, err := e.address(ctx, m)
	if err != nil {
		return err
	}
	fair := e.fairnessOf(ctx)
	share, err := fair.enter(&x.call.Target, x.call.Info.PeerAddr)
	if err != nil {
		return err
	}
	defer fair.leave(share)
	if err := x.receive(stream); err != nil {
		return err
	}
	if x.call.Info.Protocol == connect.ProtocolNameConnect {
		if place, _ := ctx.Value(seatKey{}).(*seat); place != nil && place.guard != nil {
			x.call.Detach = place.guard.detach
		}
	}
	reply, err := e.runner.Call(ctx, &x.call)
	if err != nil {
		return x.refused(err)
	}
	if len(reply.Body) > e.replyBytes {
		return replyTooLarge(len(reply.Body), e.replyBytes, true)
	}
	x.describe(&reply)
	x.body = reply.Body
	return stream.Send(&x.body)
}

// exchange is one call and what goes back, in one piece of memory.
type exchange struct {
	call    actors.Call
	headers [2]string
	body    rawMessage
}

// open makes a call of a request: first its address, then its body.
func (e *edge) open(ctx context.Context, m *actors.Method, stream connect.ServerStream) (*exchange, error) {
	x, err := e.address(ctx, m)
	if err != nil {
		return nil, err
	}
	if _, err := e.fairnessOf(ctx).count(&x.call.Target, x.call.Info.PeerAddr); err != nil {
		return nil, err
	}
	return x, x.receive(stream)
}

// address makes a call of a request's metadata. [exchange.receive] must follow.
func (e *edge) address(ctx context.Context, m *actors.Method) (*exchange, error) {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return nil, fmt.Errorf("%s was called without its metadata", m.Spec.Procedure)
	}
	x := &exchange{call: actors.Call{Method: m, Info: info, Codec: e.codecs.named(info.Codec), Forwarded: forwarded(ctx)}}
	address := readMetadata(info.RequestHeader())
	if err := address.fill(&x.call, principalOf(ctx), e.namespaces, m.ReadOnly && isGet(info)); err != nil {
		return nil, err
	}
	return x, nil
}

// fairnessOf is what bounds a request: one that another node has passed on was counted
// where it came in.
func (e *edge) fairnessOf(ctx context.Context) *fairness {
	if e.fair == nil || forwarded(ctx) {
		return nil
	}
	return e.fair
}

// refused marks the refusal of a call that another node has passed on to the wrong
// one.
func (x *exchange) refused(err error) error {
	if x.call.Forwarded && misrouted(err) {
		x.call.Info.ResponseHeader().Set(headerMisrouted, valueTrue[0])
	}
	return err
}

// receive reads the request's message.
func (x *exchange) receive(stream connect.ServerStream) error {
	x.call.Request = x.call.Method.NewRequest()
	if err := stream.Receive(x.call.Request); err != nil {
		return receiveError(err)
	}
	return nil
}

func isGet(info *connect.CallInfo) bool {
	http1, ok := info.TransportInfo.(*connecthttp.ServerInfo)
	return ok && http1.HTTPMethod() == http.MethodGet
}

// describe puts what the method said into the response headers, and who has
// answered.
func (x *exchange) describe(reply *actors.Reply) {
	header := x.call.Info.ResponseHeader()
	if reply.Header != nil {
		for name, values := range reply.Header.All() {
			header.SetValues(name, values)
		}
	}
	if !reply.ID.IsZero() {
		x.headers[0] = reply.ID.String()
		header.SetValues(wire.HeaderID, x.headers[0:1:1])
	}
	if reply.Cursor != "" {
		x.headers[1] = reply.Cursor
		header.SetValues(wire.HeaderCursor, x.headers[1:2:2])
	}
	if reply.Created {
		header.SetValues(wire.HeaderCreated, valueTrue)
	}
}

// valueTrue is shared by every response; nothing appends to a full slice in place.
var valueTrue = []string{"true"}

// guarded wraps every method of the server: a panic becomes an error, and only
// errors made for callers leave.
func guarded(log *slog.Logger, others otherServices) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) (err error) {
			if log.Enabled(ctx, slog.LevelDebug) {
				defer logAccess(ctx, log, spec, time.Now(), &err)
			}
			defer judge(ctx, log, others, spec.Procedure, &err)
			return next(ctx, spec, stream)
		}
	}
}

// judge is deferred by a method's guard and makes what its caller sees of how it
// ended.
func judge(ctx context.Context, log *slog.Logger, others otherServices, procedure string, err *error) {
	if value := recover(); value != nil {
		*err = internalError(ctx, log, procedure, fmt.Errorf("panic: %v", value), slog.String("stack", string(debug.Stack())))
	} else if *err != nil && others[procedure] {
		*err = others.verdict(ctx, log, procedure, *err)
	} else if *err != nil {
		*err = verdict(ctx, log, procedure, *err)
	}
}

// logAccess writes the line that each call leaves, at the level debug only. It
// names neither the actor nor the caller's metadata.
func logAccess(ctx context.Context, log *slog.Logger, spec connect.Spec, begun time.Time, err *error) {
	code := "ok"
	if *err != nil {
		code = connect.CodeOf(*err).String()
	}
	attrs := []slog.Attr{
		slog.String("procedure", spec.Procedure), slog.String("code", code), slog.Duration("took", time.Since(begun)),
	}
	if info, ok := connect.CallInfoForServerContext(ctx); ok {
		attrs = append(attrs, slog.String("protocol", info.Protocol), slog.String("peer", info.PeerAddr))
	}
	log.LogAttrs(ctx, slog.LevelDebug, "call", attrs...)
}
