// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// carried is one subscription of a shared stream. It belongs to its goroutine.
type carried struct {
	watch     *watch
	number    uint32
	request   *troupev1.Subscription
	principal *Principal        // of the call that added it
	info      *connect.CallInfo // a copy of that call's metadata
}

// carry begins a subscription whose number is reserved, unless the stream ends. ctx is
// that of the call that asks for it, which does not wait; own ends the subscription.
func (w *watch) carry(ctx, own context.Context, request *troupev1.Subscription) {
	asked, _ := connect.CallInfoForServerContext(ctx) // each RPC has one
	c := &carried{
		watch: w, number: request.GetNumber(), request: request, principal: principalOf(ctx),
		info: &connect.CallInfo{PeerAddr: asked.PeerAddr, Protocol: asked.Protocol, Codec: w.outer.Codec},
	}
	header := c.info.RequestHeader()
	for name, values := range asked.RequestHeader().All() {
		header.SetValues(name, slices.Clone(values))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed { // nobody waits yet
		w.running.Go(func() { c.run(own) })
	}
}

// run runs the subscription. Its place is free when its last frame is about to be
// written, no earlier: what waits for a peer that reads nothing is bounded too.
func (c *carried) run(ctx context.Context) {
	err := c.serve(ctx)
	if ctx.Err() != nil {
		err = nil // removed
	}
	c.end(err)
	c.leave() // of a stream that is over
}

// leave gives the subscription's place back, once.
func (c *carried) leave() {
	w := c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if cancel := w.carried[c.number]; cancel != nil {
		cancel()
		delete(w.carried, c.number)
	}
}

// serve runs the subscription to its end, within the same bounds as one that has a
// stream of its own.
func (c *carried) serve(ctx context.Context) (err error) {
	ws := c.watch.set
	defer judge(ctx, ws.edge.log, nil, "/"+c.request.GetType(), &err)
	call, err := c.call()
	if err != nil {
		return err
	}
	if _, err = ws.edge.fair.count(&call.Target, c.info.PeerAddr); err != nil {
		return err
	}
	ctx = context.WithValue(ctx, principalKey{}, c.principal)
	share, err := ws.router.admitStream(ctx)
	if err != nil {
		return err
	}
	defer ws.router.leaveStream(share)
	if peers := ws.router.cluster; peers != nil && !peers.host.Admits(&call.Target) {
		return peers.carry(ctx, c, call)
	}
	return c.follow(ctx, call)
}

// follow runs the subscription of an actor that this node runs.
func (c *carried) follow(ctx context.Context, call *actors.Call) error {
	subscription, err := c.watch.set.edge.runner.Subscribe(&carriedContext{ctx, c}, call)
	if err != nil {
		return err //nolint:wrapcheck // ready for the wire
	}
	defer subscription.Close()
	return subscription.Feed(ctx, c) //nolint:wrapcheck // ready for the wire
}

// carriedContext is the stream's context with the metadata of the call that added
// the subscription, which is what hooks see.
type carriedContext struct {
	context.Context //nolint:containedctx // it is one

	carried *carried
}

// Value implements [context.Context].
func (c *carriedContext) Value(key any) any {
	value := c.Context.Value(key)
	if value == any(c.carried.watch.outer) {
		return c.carried.info
	}
	return value
}

var _ actors.Sink = (*carried)(nil)

// Send implements [actors.Sink].
func (c *carried) Send(frame *actors.Frame, more bool) error {
	return c.watch.out.event(c.number, frame, more)
}

// end sends the subscription's last frame.
func (c *carried) end(err error) {
	ended := new(troupev1.SubscriptionEnded)
	if err != nil {
		made, ok := err.(*connect.Error) //nolint:errorlint // as judge makes it
		if !ok {
			made = connect.NewError(connect.CodeInternal, "internal error")
		}
		ended.Error = &troupev1.SubscriptionError{Code: int32(made.Code()), Message: made.Message()}
		for _, detail := range made.Details() {
			ended.Error.Details = append(ended.Error.Details, &troupev1.SubscriptionError_Detail{Type: detail.Type, Value: detail.Value})
		}
	}
	_ = c.watch.out.sendAfter(c.leave, &troupev1.WatchFrame{ // a stream that fails ends by itself
		Subscription: c.number, Frame: &troupev1.WatchFrame_Ended{Ended: ended},
	})
}

// resolves are the words of the metadata.
var resolves = map[troupev1.Subscription_Resolve]string{
	troupev1.Subscription_RESOLVE_UNSPECIFIED:   "",
	troupev1.Subscription_RESOLVE_GET_OR_CREATE: wire.ResolveGetOrCreate,
	troupev1.Subscription_RESOLVE_GET:           wire.ResolveGet,
	troupev1.Subscription_RESOLVE_CREATE:        wire.ResolveCreate,
}

// call makes a call of what is asked for, by the rules of a request's metadata.
func (c *carried) call() (*actors.Call, error) {
	ws, request := c.watch.set, c.request
	method, known := ws.methods[request.GetType()]
	switch {
	case !known:
		return nil, badActorType.errorf("this server has no actor type %q", request.GetType())
	case method == nil:
		return nil, badActorType.errorf("%s has no subscription", request.GetType())
	}
	c.info.Spec = method.Spec
	call := &actors.Call{Method: method, Info: c.info, Codec: c.watch.out.codec, Shared: true}
	key, err := wire.EncodeKey(request.GetKey())
	if err != nil {
		return nil, badActorKey.errorf("%s", err)
	}
	resolve, ok := resolves[request.GetResolve()]
	if !ok {
		return nil, badActorResolve.errorf("resolve has no value %d", request.GetResolve())
	}
	m := metadata{
		namespace: request.GetNamespace(), key: key, id: request.GetId(), resolve: resolve,
		resume: request.GetResume(), events: strings.Join(request.GetEvents(), ","),
	}
	if err := m.fill(call, c.principal, ws.edge.namespaces, false); err != nil {
		return nil, err
	}
	if call.Input, err = c.input(); err != nil {
		return nil, err
	}
	call.Request = method.NewRequest()
	return call, c.decode(request.GetParams(), call.Request)
}

// input encodes the input of a creation; nil without one.
func (c *carried) input() ([]byte, error) {
	payload := c.request.GetInput()
	if payload == nil {
		return nil, nil
	}
	name := c.watch.set.inputs[c.request.GetType()]
	if name == "" {
		return nil, badActorInput.errorf("%s takes no input", c.request.GetType())
	}
	typ, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return nil, fmt.Errorf("find the input message: %w", err)
	}
	input := typ.New().Interface()
	if err := c.decode(payload, input); err != nil {
		return nil, err
	}
	encoded, err := proto.MarshalOptions{}.MarshalAppend([]byte{}, input)
	if err != nil {
		return nil, fmt.Errorf("encode the input: %w", err)
	}
	return encoded, nil
}

// decode reads a payload into a message, as the codecs of the wire would.
func (c *carried) decode(payload *troupev1.Payload, into proto.Message) error {
	codecs := c.watch.set.edge.codecs
	var err error
	switch encoding := payload.GetEncoding().(type) {
	case *troupev1.Payload_Binary:
		err = codecs.binary.UnmarshalOptions.Unmarshal(encoding.Binary, into)
	case *troupev1.Payload_Json:
		var text []byte
		if text, err = protojson.Marshal(encoding.Json); err == nil {
			err = codecs.json.UnmarshalOptions.Unmarshal(text, into)
		}
	}
	if err != nil {
		return badBody.errorf("a payload is not a %s: %s", into.ProtoReflect().Descriptor().FullName(), err)
	}
	return nil
}
