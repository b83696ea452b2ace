// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
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
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// relay sends requests of the ActorService, whose address is in the message, to the
// node that runs the actor. A request without an address is served where it came in.
func (c *peers) relay(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		if !strings.HasPrefix(spec.Procedure, "/"+troupev1connect.ActorServiceName+"/") || forwarded(ctx) {
			return next(ctx, spec, stream)
		}
		reading := &addressed{ServerStream: stream, peers: c, ctx: ctx}
		err := next(ctx, spec, reading)
		if reading.elsewhere == nil {
			return err
		}
		return c.relayRequest(ctx, spec, stream, reading)
	}
}

// addressed looks for the address in a request of the ActorService. One about an
// actor of another node does not get through.
type addressed struct {
	connect.ServerStream
	*peers

	ctx       context.Context //nolint:containedctx // a stream is a call, and its methods take no context
	elsewhere *actors.Target  // the actor that another node runs
	request   any
}

var errElsewhere = errors.New("another node runs the actor")

// Receive implements [connect.ServerStream].
func (a *addressed) Receive(dst any) error {
	if err := a.ServerStream.Receive(dst); err != nil {
		return err
	}
	request, ok := dst.(interface{ GetAddress() *troupev1.Address })
	if !ok || request.GetAddress() == nil {
		return nil
	}
	target, ok := targetOfAddress(request.GetAddress())
	if !ok || a.host.Admits(&target) {
		return nil
	}
	a.elsewhere, a.request = &target, dst
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

// relayRequest has the node answer that runs the actor.
func (c *peers) relayRequest(ctx context.Context, spec connect.Spec, stream connect.ServerStream, read *addressed) error {
	peer := ""
	if info, ok := connect.CallInfoForServerContext(ctx); ok {
		peer = info.PeerAddr
	}
	search := placement.Search{Placement: c.placement, Shard: c.host.ShardOf(read.elsewhere)}
	for {
		verdict := notOwner()
		if node, ok := search.Elsewhere(); ok {
			response, err := responseOf(spec)
			if err != nil {
				return err
			}
			sent, watch := c.watched(ctx, node, search.Shard)
			sent, info := connect.NewClientContext(sent)
			info.RequestHeader().Set(headerCaller, encodeCaller(ctx, peer))
			err = c.client(node).CallUnary(sent, spec, read.request, response)
			watch.stop()
			if err == nil {
				return stream.Send(response)
			}
			if verdict = rebuilt(c.callFailure(ctx, node, err)); !misrouted(verdict) {
				return verdict
			}
		}
		if !search.Again(ctx) {
			return verdict
		}
	}
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
