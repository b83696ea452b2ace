// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"runtime/debug"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/internal/wire"
)

// rawSegment is the last part of an actor's URL that belongs to the server; what
// follows it is the path that the actor sees.
const rawSegment = "http"

// besideRunner runs what is no RPC beside an actor; [actors.Host] is one.
type besideRunner interface {
	Beside(ctx context.Context, call *actors.Call, serve func(ctx context.Context, actor any, reply *actors.Reply)) error
}

var _ besideRunner = (*actors.Host)(nil)

// raw serves the raw HTTP requests of actors that implement [http.Handler]:
//
//	/actors/{namespace}/{segments…}/@/{package.Service}/http/{path}
type raw struct {
	runner  besideRunner
	router  *router
	edge    *edge
	methods map[string]*actors.Method // by actor type; nil for a type that has no handler
	csrf    *http.CrossOriginProtection
	origins map[string]bool
}

func newRaw(host *actors.Host, router *router, edge *edge, origins []string) *raw {
	s := &raw{
		runner: host, router: router, edge: edge, methods: make(map[string]*actors.Method),
		csrf: http.NewCrossOriginProtection(), origins: make(map[string]bool),
	}
	for _, m := range host.Methods() {
		s.methods[m.Type] = nil
	}
	for _, m := range host.MethodsBeside(reflect.TypeFor[http.Handler]()) {
		s.methods[m.Type] = m
	}
	for _, origin := range origins {
		_ = s.csrf.AddTrustedOrigin(origin) // checked with the configuration
		s.origins[origin] = true
	}
	return s
}

// isRaw reports whether an escaped path is that of a raw request.
func isRaw(escaped string) bool {
	_, tail, ok := strings.Cut(escaped, "/@/")
	_, method, ok2 := strings.Cut(tail, "/")
	return ok && ok2 && strings.HasPrefix(escaped, urlPrefix) && (method == rawSegment || strings.HasPrefix(method, rawSegment+"/"))
}

// serve serves one raw request, whose caller is known already.
func (s *raw) serve(w http.ResponseWriter, r *http.Request, address *urlAddress) {
	call, err := s.call(r, address)
	if err == nil {
		err = s.checkOrigin(r)
	}
	if err == nil {
		_, err = s.edge.fairnessOf(r.Context()).count(&call.Target, r.RemoteAddr)
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
	defer s.router.limitBody(w, r) // what the handler has left of it
	if c := s.router.cluster; c != nil && !c.host.Admits(&call.Target) {
		if s.router.forwarded {
			c.misplaced(s.router, w, r)
			return
		}
		x := newRawExchange(r.Context(), w, r.Body, &s.router.limits)
		defer x.release()
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = x.body
		}
		if r = (&passing{peers: c, router: s.router, w: x, r: r, target: call.Target}).pass(); r == nil {
			return
		}
	}
	if err := s.runner.Beside(r.Context(), call, func(ctx context.Context, actor any, reply *actors.Reply) {
		s.run(ctx, actor.(http.Handler), reply, w, r, address) //nolint:forcetypeassert // see newRaw
	}); err != nil {
		s.router.refuse(w, r, err)
	}
}

// call makes a call of a raw request's address. Of its metadata, what is about
// replies and streams of RPCs means nothing here and is the actor's.
func (s *raw) call(r *http.Request, address *urlAddress) (*actors.Call, error) {
	method, known := s.methods[address.service]
	switch {
	case !known:
		return nil, unknownType.errorf("this server has no actor type %q", address.service)
	case method == nil:
		return nil, noRawHandler.errorf("%s serves no raw HTTP requests: its Go type has no ServeHTTP", address.service)
	}
	info := &connect.CallInfo{Spec: method.Spec, PeerAddr: r.RemoteAddr, Protocol: rawSegment}
	header := info.RequestHeader()
	for name, values := range r.Header {
		header.SetValues(name, values)
	}
	m := readMetadata(header)
	if m.key != "" || m.id != "" || m.namespace != "" {
		return nil, addressConflict.errorf("the address is in the URL, so actor-key, actor-id and actor-namespace are refused")
	}
	m.namespace, m.key = address.namespace, address.key
	m.resume, m.lastEventID, m.idempotency = "", "", ""
	if err := m.takeQuery(r.URL.RawQuery); err != nil {
		return nil, err
	}
	call := &actors.Call{Method: method, Info: info}
	return call, m.fill(call, principalOf(r.Context()), s.edge.namespaces, false)
}

// takeQuery takes the query parameters that stand for metadata. The actor sees them
// too; a query that cannot be read is its business.
func (m *metadata) takeQuery(raw string) error {
	if raw == "" {
		return nil
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	if values := query["resolve"]; len(values) > 0 {
		if len(values) > 1 || m.resolve != "" {
			return addressConflict.errorf("resolve is given twice")
		}
		m.resolve = values[0]
	}
	if values := query["params"]; len(values) > 0 {
		if len(values) > 1 || m.hasParams {
			return addressConflict.errorf("params is given twice")
		}
		if m.params, err = paramsOfQuery(values[0]); err != nil {
			return err
		}
		m.hasParams = true
	}
	return nil
}

// checkOrigin refuses what a page of another origin has its browser send: writing
// requests, and WebSockets, which CORS does not cover.
func (s *raw) checkOrigin(r *http.Request) error {
	if err := s.csrf.Check(r); err != nil {
		return crossOrigin.errorf("a page of another origin may not send this request: name its origin in -cors-origins")
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || s.trusts(r) {
		return nil
	}
	return crossOrigin.errorf("a page of %s may not open a WebSocket: name the origin in -cors-origins", r.Header.Get("Origin"))
}

// trusts reports whether a request does not come from a page, or from one of the
// server's own origin or of one that may call.
func (s *raw) trusts(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || s.origins[origin] {
		return true
	}
	from, err := url.Parse(origin)
	return err == nil && strings.EqualFold(from.Host, r.Host)
}

// run runs the actor's handler beside the actor, until it returns or panics. A
// connection that it took over ends with it.
func (s *raw) run(ctx context.Context, handler http.Handler, reply *actors.Reply, w http.ResponseWriter, r *http.Request, address *urlAddress) {
	header := w.Header()
	header["Cache-Control"] = valueNoStore
	header["X-Accel-Buffering"] = valueNo
	header.Set(wire.HeaderID, reply.ID.String())
	if reply.Created {
		header[wire.HeaderCreated] = valueTrue
	}
	x := newRawExchange(ctx, w, r.Body, &s.router.limits)
	defer x.release()
	defer func() {
		if value := recover(); value != nil {
			s.panicked(ctx, x, r, address, value)
		}
	}()
	handler.ServeHTTP(x, address.strip(r.WithContext(ctx), x))
}

// panicked answers a request whose handler panicked: with an error, or by cutting
// the connection if the answer has begun.
func (s *raw) panicked(ctx context.Context, x *rawExchange, r *http.Request, address *urlAddress, value any) {
	if value == http.ErrAbortHandler { //nolint:errorlint // as net/http does
		panic(value) //nolint:forbidigo // it is how a handler cuts its connection
	}
	err := internalError(ctx, s.edge.log, "/"+address.service+"/"+rawSegment, fmt.Errorf("panic: %v", value), slog.String("stack", string(debug.Stack())))
	if x.begun() {
		panic(http.ErrAbortHandler) //nolint:forbidigo // see above
	}
	s.router.refuse(x.ResponseWriter, r, err)
}

// strip returns the request that the actor sees: its path begins after the
// server's part of it.
func (a *urlAddress) strip(r *http.Request, x *rawExchange) *http.Request {
	target := *r.URL
	target.Path, target.RawPath = a.path, a.escapedPath
	r.URL = &target
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = x.body
	}
	return r
}
