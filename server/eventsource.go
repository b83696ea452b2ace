// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"google.golang.org/protobuf/proto"
)

const eventStreamType = "text/event-stream"

// eventSource serves subscriptions as text/event-stream, for what can do no more
// than an HTTP GET: an EventSource, curl. Like every GET it creates no actor.
type eventSource struct {
	router  *router
	edge    *edge
	methods map[string]*actors.Method // subscriptions by procedure
	codec   *eventCodec
}

func newEventSource(router *router, edge *edge, methods []*actors.Method) *eventSource {
	s := &eventSource{router: router, edge: edge, methods: make(map[string]*actors.Method), codec: &eventCodec{edge.codecs.json}}
	for _, m := range methods {
		if m.Subscription {
			s.methods[m.Spec.Procedure] = m
		}
	}
	return s
}

// takes reports whether a GET asks for a subscription in this form.
func (s *eventSource) takes(r *http.Request, found *route) bool {
	return s.methods[found.spec.Procedure] != nil && slices.ContainsFunc(r.Header["Accept"], func(accept string) bool {
		return strings.Contains(accept, eventStreamType)
	})
}

// serve serves one subscription, whose caller is known already.
func (s *eventSource) serve(w http.ResponseWriter, r *http.Request, found *route) {
	if !s.router.raw.trusts(r) { // no preflight has asked for it
		s.router.refuse(w, r, crossOrigin.errorf("a page of %s may not subscribe: name the origin in -cors-origins", r.Header.Get("Origin")))
		return
	}
	r, err := s.router.skipBody(w, r)
	var x *exchange
	if err == nil {
		x, err = s.exchange(r, s.methods[found.spec.Procedure])
	}
	if err == nil {
		_, err = s.edge.fairnessOf(r.Context()).count(&x.call.Target, r.RemoteAddr)
	}
	if err != nil {
		s.router.refuse(w, r, err)
		return
	}
	share, ok := s.router.enterStream(w, r)
	if !ok {
		return
	}
	defer s.router.leaveStream(share)
	if c := s.router.cluster; c != nil && !c.host.Admits(&x.call.Target) {
		if s.router.forwarded {
			c.misplaced(s.router, w, r)
			return
		}
		writer := newStreamWriter(w, s.router.limits.WriteTimeout)
		defer writer.disarm()
		if r = (&passing{peers: c, router: s.router, w: writer, r: r, target: x.call.Target, again: true}).pass(); r == nil {
			return
		}
	}
	if opened, err := s.feed(w, r, x); !opened {
		s.router.refuse(w, r, err)
	}
}

// feed opens the subscription and writes it, or says why it does not open.
func (s *eventSource) feed(w http.ResponseWriter, r *http.Request, x *exchange) (opened bool, err error) {
	ctx := r.Context()
	defer judge(ctx, s.edge.log, nil, x.call.Method.Spec.Procedure, &err)
	subscription, err := s.edge.runner.Subscribe(ctx, &x.call)
	if err != nil {
		return false, err //nolint:wrapcheck // ready for the wire
	}
	defer subscription.Close()
	x.describe(&subscription.Reply)
	header := w.Header()
	for name, values := range x.call.Info.ResponseHeader().All() {
		header[http.CanonicalHeaderKey(name)] = values
	}
	header.Set(headerContentType, eventStreamType)
	header["X-Accel-Buffering"] = valueNo
	sink := &eventSink{codec: s.codec, writer: newStreamWriter(w, s.router.limits.WriteTimeout)}
	defer sink.writer.disarm()
	defer sink.writer.finish()
	if err := subscription.Feed(ctx, sink); err != nil && ctx.Err() == nil {
		s.fail(ctx, sink, r, x, err)
	}
	return true, nil
}

// fail sends the error that ends the stream as its last event. An EventSource has an
// event "error" of its own, so this one is not called that.
func (s *eventSource) fail(ctx context.Context, sink *eventSink, r *http.Request, x *exchange, err error) {
	whole := &wholeAnswer{header: make(http.Header)}
	_ = s.router.errors.Write(whole, r, verdict(ctx, s.edge.log, x.call.Method.Spec.Procedure, err)) // into memory
	_ = sink.writer.write(slices.Concat([]byte("event: failed\ndata: "), bytes.TrimSpace(whole.body.Bytes()), []byte("\n\n")), false)
}

// exchange makes a call of a request.
func (s *eventSource) exchange(r *http.Request, method *actors.Method) (*exchange, error) {
	info := &connect.CallInfo{Spec: method.Spec, PeerAddr: r.RemoteAddr, Protocol: eventStreamType, Codec: connect.CodecNameJSON}
	header := info.RequestHeader()
	for name, values := range r.Header {
		header.SetValues(name, values)
	}
	x := &exchange{call: actors.Call{Method: method, Info: info, Codec: s.codec, Request: method.NewRequest()}}
	m := readMetadata(header)
	if err := m.fill(&x.call, principalOf(r.Context()), s.edge.namespaces, true); err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badURLAddress.errorf("the query is malformed")
	}
	return x, s.request(x, query)
}

// request reads the subscription's request: the parameters, binary, or the message of
// a Connect GET.
func (s *eventSource) request(x *exchange, query url.Values) error {
	call, messages := &x.call, query["message"]
	params := call.Params
	call.Params = nil
	switch {
	case len(messages) == 0 && params == nil:
		return nil
	case len(messages) > 1 || len(messages) == 1 && params != nil:
		return addressConflict.errorf("the subscription's request is given twice: as message and as params")
	case params != nil:
		if err := s.edge.codecs.binary.UnmarshalOptions.Unmarshal(params, call.Request); err != nil {
			return badActorParams.errorf("params is not a %s", call.Request.ProtoReflect().Descriptor().FullName())
		}
		return nil
	}
	message := []byte(messages[0])
	if query.Get("base64") == "1" {
		var err error
		if message, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(messages[0], "=")); err != nil {
			return badBody.errorf("message is not base64url")
		}
	}
	decode := s.edge.codecs.json.UnmarshalOptions.Unmarshal
	switch query.Get("encoding") {
	case "", connect.CodecNameJSON:
	case connect.CodecNameProto:
		decode = func(data []byte, into proto.Message) error {
			return s.edge.codecs.binary.UnmarshalOptions.Unmarshal(data, into)
		}
	default:
		return badBody.errorf("encoding is json or proto")
	}
	if err := decode(message, call.Request); err != nil {
		return badBody.errorf("message is not a %s: %s", call.Request.ProtoReflect().Descriptor().FullName(), err)
	}
	return nil
}

// eventSink writes the frames of one subscription. It belongs to one goroutine.
type eventSink struct {
	codec  *eventCodec
	writer *streamWriter
}

var _ actors.Sink = (*eventSink)(nil)

// Send implements [actors.Sink].
func (s *eventSink) Send(frame *actors.Frame, more bool) error {
	text, err := frame.Encoded(s.codec)
	if err != nil {
		return err
	}
	if err := s.writer.write(text, more); err != nil {
		return callerGone.errorf("the subscriber is gone or takes nothing").WithCause(err)
	}
	return nil
}
