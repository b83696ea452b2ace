// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// relay sends requests of the ActorService to the node that runs the actor, whose address
// is in the message, or that holds the shared stream which they name. A request without
// either is served where it came in.
func (c *peers) relay(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		if !strings.HasPrefix(spec.Procedure, "/"+troupev1connect.ActorServiceName+"/") || forwarded(ctx) {
			return next(ctx, spec, stream)
		}
		reading := &addressed{ServerStream: stream, peers: c, ctx: ctx}
		err := next(ctx, spec, reading)
		if reading.request == nil {
			return err
		}
		var response any
		if reading.elsewhere != nil {
			response, err = c.askOwner(ctx, spec, reading, func() error {
				return next(ctx, spec, &readAlready{ServerStream: stream, request: reading.request})
			})
		} else {
			response, err = c.askHolder(ctx, spec, reading)
		}
		if err != nil || response == nil {
			return err
		}
		return stream.Send(response)
	}
}

// readAlready is a call whose request has been read.
type readAlready struct {
	connect.ServerStream

	request any
}

// Receive implements [connect.ServerStream].
func (r *readAlready) Receive(dst any) error {
	if r.request == nil {
		return io.EOF
	}
	from, ok := r.request.(proto.Message)
	into, ok2 := dst.(proto.Message)
	if !ok || !ok2 {
		return fmt.Errorf("a request is a %T", dst)
	}
	proto.Merge(into, from)
	r.request = nil
	return nil
}

// addressed looks for the address in a request of the ActorService. One about an
// actor, or a shared stream, of another node does not get through.
type addressed struct {
	connect.ServerStream
	*peers

	ctx       context.Context //nolint:containedctx // a stream is a call, and its methods take no context
	elsewhere *actors.Target  // the actor that another node runs; nil if it is about a stream
	holder    placement.Node  // of the stream
	request   any             // what does not get through
}

var errElsewhere = errors.New("another node answers")

// Receive implements [connect.ServerStream].
func (a *addressed) Receive(dst any) error {
	if err := a.ServerStream.Receive(dst); err != nil {
		return err
	}
	switch request := dst.(type) {
	case interface{ GetAddress() *troupev1.Address }:
		if request.GetAddress() == nil {
			return nil
		}
		target, ok := targetOfAddress(request.GetAddress())
		if !ok || a.host.Admits(&target) {
			return nil
		}
		a.elsewhere = &target
	case interface{ GetStream() string }:
		holder, ok, err := a.holderOf(a.ctx, request.GetStream())
		if !ok || err != nil {
			return err
		}
		a.holder = holder
	default:
		return nil
	}
	a.request = dst
	return errElsewhere
}

// targetOfAddress reads an address. One that is wrong has no target: its error is made
// where it is.
func targetOfAddress(address *troupev1.Address) (target actors.Target, ok bool) {
	target.Address = store.Address{Namespace: address.GetNamespace(), Type: address.GetType()}
	if target.Address.Namespace == "" {
		target.Address.Namespace = wire.DefaultNamespace
	}
	var err error
	if address.GetId() != "" {
		target.ID, err = store.ParseID(address.GetId())
	} else {
		target.Address.Key, err = wire.EncodeKey(address.GetKey())
	}
	return target, err == nil
}

// askOwner asks one node after another until one answers that runs the actor. If this
// one has come to run it, here answers, and there is no response to send.
func (c *peers) askOwner(ctx context.Context, spec connect.Spec, read *addressed, here func() error) (any, error) {
	search := placement.Search{Placement: c.placement, Shard: c.host.ShardOf(read.elsewhere)}
	for {
		var verdict error = notOwner()
		if c.host.Admits(read.elsewhere) {
			if verdict = here(); !misrouted(verdict) {
				return nil, verdict
			}
		} else if node, ok := search.Elsewhere(); ok {
			sent, watch := c.watched(ctx, node, search.Shard)
			response, err := c.ask(sent, node, spec, read.request)
			watch.stop()
			if err == nil {
				return response, nil
			}
			if verdict = rebuilt(c.callFailure(ctx, node, err)); !misrouted(verdict) {
				return nil, verdict
			}
		}
		if !search.Again(ctx) {
			return nil, verdict
		}
	}
}

// askHolder asks the node that holds a shared stream.
func (c *peers) askHolder(ctx context.Context, spec connect.Spec, read *addressed) (any, error) {
	response, err := c.ask(ctx, read.holder, spec, read.request)
	if err != nil {
		return nil, rebuilt(c.callFailure(ctx, read.holder, err))
	}
	return response, nil
}

// ask has a node answer a request, with the headers and the caller of the one that came
// in.
func (c *peers) ask(ctx context.Context, node placement.Node, spec connect.Spec, request any) (any, error) {
	response, err := responseOf(spec)
	if err != nil {
		return nil, err
	}
	sent, info := connect.NewClientContext(ctx)
	peer := ""
	if asked, ok := connect.CallInfoForServerContext(ctx); ok {
		peer = asked.PeerAddr
		for name, values := range asked.RequestHeader().All() {
			if !ofOneHop(name) {
				info.RequestHeader().SetValues(name, values)
			}
		}
	}
	info.RequestHeader().Set(headerCaller, encodeCaller(ctx, peer))
	return response, c.client(node).CallUnary(sent, spec, request, response)
}

// ofOneHop reports whether a header is about the bytes of one request, which is sent on
// in other ones.
func ofOneHop(name string) bool {
	name = http.CanonicalHeaderKey(name)
	if hopHeaders[name] || name == "Accept-Encoding" {
		return true
	}
	for _, prefix := range []string{"Content-", "Connect-", "Grpc-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// responseOf makes an empty response of a method.
func responseOf(spec connect.Spec) (any, error) {
	method, ok := spec.Schema.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s has no schema", spec.Procedure)
	}
	message, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, err
	}
	return message.New().Interface(), nil
}

// rebuilt makes an error of another node this one's own: Connect keeps back what a
// peer has said.
func rebuilt(err error) *connect.Error {
	from, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return answerLost.unknownf("the node that runs the actor has not answered").WithCause(err)
	}
	own := connect.NewError(from.Code(), from.Message()).WithCause(err)
	for _, detail := range from.Details() {
		own = own.WithDetail(detail)
	}
	return own
}

// misrouted reports whether an error says that nothing has been run because the node
// does not run the actor, or could not be reached.
func misrouted(err error) bool {
	wire, ok := errors.AsType[*connect.Error](err)
	if !ok || wire.Code() != connect.CodeUnavailable {
		return false
	}
	for _, detail := range wire.Details() {
		message, err := connectproto.UnmarshalErrorDetail(detail)
		if info, ok := message.(*errdetails.ErrorInfo); ok && err == nil {
			return info.GetDomain() == errorDomain && (info.GetReason() == "not_owner" || info.GetReason() == nodeUnreachable.reason)
		}
	}
	return false
}
