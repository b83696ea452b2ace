// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"reflect"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/emptypb"
)

// MethodsBeside returns one Method for each registered type whose Go type
// implements iface, an interface type such as that of a handler of raw requests. It
// is no RPC: it is what [Call.Method] is for [Host.Beside].
func (h *Host) MethodsBeside(iface reflect.Type) []*Method {
	var methods []*Method
	for _, t := range h.types {
		if t.goType.Implements(iface) {
			methods = append(methods, &Method{Spec: connect.Spec{Procedure: "/" + t.name + "/" + iface.Name()}, Type: t.name, owner: t})
		}
	}
	return methods
}

// Beside runs serve for a request that is no RPC, beside the actor that the call
// names, which stays in memory meanwhile. The call needs neither Request nor Codec;
// its hooks, creation and wake are those of a streaming action, and so is its time
// limit, [StreamTimeout].
//
// Serve gets the author's value, which it reaches by [Actor.Turn] alone, and what
// the reply says about it. It runs on the caller's goroutine; its ctx has the
// caller's values and ends with ctx, at the time limit and when the actor stops.
// Beside returns a *[connect.Error], ready for the wire, if serve has not run, and
// nil after it has. A panic of serve passes through.
func (h *Host) Beside(ctx context.Context, call *Call, serve func(ctx context.Context, actor any, reply *Reply)) error {
	call.Request = new(emptypb.Empty)
	s, err := h.Stream(ctx, call)
	if err != nil {
		return err
	}
	defer s.Close()
	i := s.body.inst
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, streamKey{}, s))
	defer cancel(nil)
	ctx, release := context.WithTimeoutCause(ctx, i.typ.limits.streamTimeout, errStreamTimeout)
	defer release()
	i.mu.Lock()
	own := s.body.besideLocked().ctx
	i.mu.Unlock()
	defer context.AfterFunc(own, func() { cancel(context.Cause(own)) })()
	serve(ctx, s.body.actor, &s.Reply)
	return nil
}
