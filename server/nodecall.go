// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	nodev1 "github.com/troupe-dev/troupe/gen/go/troupe/node/v1"
	"google.golang.org/protobuf/proto"
)

// nodeResolves are what a call says about an absent or present actor, as nodes tell each
// other.
var nodeResolves = map[actors.Resolve]nodev1.Resolve{
	actors.GetOrCreate: nodev1.Resolve_RESOLVE_UNSPECIFIED,
	actors.Get:         nodev1.Resolve_RESOLVE_GET,
	actors.Create:      nodev1.Resolve_RESOLVE_CREATE,
}

// encodeCall makes what another node needs to run a call.
func encodeCall(call *actors.Call) (*nodev1.ForwardedCall, error) {
	request, err := proto.Marshal(call.Request)
	if err != nil {
		return nil, badBody.errorf("the request does not encode: %s", err)
	}
	f := &nodev1.ForwardedCall{
		Procedure: call.Method.Spec.Procedure,
		Namespace: call.Address.Namespace, Key: call.Address.Key, Resolve: nodeResolves[call.Resolve],
		Request: request, Input: call.Input, Params: call.Params,
		Conn: call.Conn, Resume: call.Resume, Events: call.Events,
		Subject: call.Subject, IdempotencyKey: call.IdempotencyKey, Internal: call.Internal, Shared: call.Shared,
	}
	if !call.ID.IsZero() {
		f.Id = call.ID[:]
	}
	for _, addr := range call.Chain {
		f.Chain = append(f.Chain, &nodev1.Actor{Namespace: addr.Namespace, Type: addr.Type, Key: addr.Key})
	}
	if p := call.Postmark; p != nil {
		f.Postmark = &nodev1.Postmark{Sender: p.Sender[:], Number: p.Number, FormerNumbers: p.FormerNumbers, PassedOver: p.PassedOver}
	}
	if call.Info != nil {
		f.Header, f.Peer = fieldsOf(call.Info.RequestHeader()), call.Info.PeerAddr
	}
	return f, nil
}

// decode is the inverse of [encodeCall].
func (s *nodeService) decode(f *nodev1.ForwardedCall) (*actors.Call, error) {
	method := s.methods[f.GetProcedure()]
	if method == nil {
		return nil, unknownMethod.errorf("this node has no %s", f.GetProcedure())
	}
	call := &actors.Call{
		Target:  actors.Target{Address: store.Address{Namespace: f.GetNamespace(), Type: method.Type, Key: f.GetKey()}},
		Method:  method,
		Request: method.NewRequest(),
		Input:   f.Input, Params: f.Params,
		Conn: f.GetConn(), Resume: f.GetResume(), Events: f.GetEvents(),
		Subject: f.GetSubject(), IdempotencyKey: f.GetIdempotencyKey(), Internal: f.GetInternal(), Shared: f.GetShared(),
		Codec: s.codec,
		Info:  &connect.CallInfo{Spec: method.Spec, Codec: s.codec.Name(), PeerAddr: f.GetPeer()},
	}
	for resolve, wire := range nodeResolves {
		if wire == f.GetResolve() {
			call.Resolve = resolve
		}
	}
	if err := idOf(f.GetId(), &call.ID); err != nil {
		return nil, err
	}
	for _, actor := range f.GetChain() {
		call.Chain = append(call.Chain, store.Address{Namespace: actor.GetNamespace(), Type: actor.GetType(), Key: actor.GetKey()})
	}
	if p := f.GetPostmark(); p != nil {
		call.Postmark = &actors.Postmark{Number: p.GetNumber(), FormerNumbers: p.GetFormerNumbers(), PassedOver: p.GetPassedOver()}
		if err := idOf(p.GetSender(), &call.Postmark.Sender); err != nil {
			return nil, err
		}
	}
	for _, field := range f.GetHeader() {
		call.Info.RequestHeader().SetValues(field.GetName(), field.GetValues())
	}
	if err := proto.Unmarshal(f.GetRequest(), call.Request); err != nil {
		return nil, badBody.errorf("the request is not what %s takes", f.GetProcedure())
	}
	return call, nil
}

// idOf reads an id that may be missing.
func idOf(encoded []byte, id *store.ID) error {
	if len(encoded) != 0 && len(encoded) != len(id) {
		return badForwarded.errorf("an id has %d bytes", len(encoded))
	}
	copy(id[:], encoded)
	return nil
}

// fieldsOf encodes headers. They may have any bytes, and a message of the nodes has text.
func fieldsOf(header *connect.Header) []*nodev1.Field {
	if header == nil || header.Len() == 0 {
		return nil
	}
	fields := make([]*nodev1.Field, 0, header.Len())
	for name, values := range header.All() {
		valid := make([]string, len(values))
		for n, value := range values {
			valid[n] = strings.ToValidUTF8(value, "\uFFFD")
		}
		fields = append(fields, &nodev1.Field{Name: name, Values: valid})
	}
	return fields
}

// encodeAnswer makes what another node needs of a reply besides its body.
func encodeAnswer(reply *actors.Reply) *nodev1.Answer {
	return &nodev1.Answer{Id: reply.ID[:], Cursor: reply.Cursor, Created: reply.Created, Header: fieldsOf(reply.Header)}
}

// decodeAnswer is the inverse of [encodeAnswer].
func decodeAnswer(answer *nodev1.Answer) (actors.Reply, error) {
	reply := actors.Reply{Cursor: answer.GetCursor(), Created: answer.GetCreated()}
	if err := idOf(answer.GetId(), &reply.ID); err != nil {
		return reply, fmt.Errorf("an answer of another node: %w", err)
	}
	if fields := answer.GetHeader(); len(fields) > 0 {
		reply.Header = new(connect.Header)
		for _, field := range fields {
			reply.Header.SetValues(field.GetName(), field.GetValues())
		}
	}
	return reply, nil
}
