// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/internal/wire"
)

// headerMisrouted marks the answer of a node that does not run the actor: nothing of
// the request has been run.
const headerMisrouted = "Troupe-Misrouted"

// hopHeaders are about one connection and not passed on.
var hopHeaders = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Expect": true,
	headerCaller: true, headerMisrouted: true,
}

// targetOf reads the address of a request to an actor type, by its metadata. A
// request whose address is wrong has none: its error is made where it is.
func targetOf(header http.Header, actorType string) (target actors.Target, ok bool) {
	target.Address = store.Address{Namespace: header.Get(wire.HeaderNamespace), Type: actorType}
	if target.Address.Namespace == "" {
		target.Address.Namespace = wire.DefaultNamespace
	}
	var err error
	if id := header.Get(wire.HeaderID); id != "" {
		target.ID, err = store.ParseID(id)
		return target, err == nil
	}
	target.Address.Key, err = wire.CanonicalKey(header.Get(wire.HeaderKey))
	return target, err == nil
}

// place has a request of an actor served where the actor runs, within what one address
// may ask of one actor. It returns the request if that is here, and nil if it has been
// answered. Unary says that it is no stream.
func (rt *router) place(w http.ResponseWriter, r *http.Request, spec *connect.Spec, unary bool) *http.Request {
	target, ok := targetOf(r.Header, serviceName(spec.Procedure))
	if !ok || rt.cluster.host.Admits(&target) {
		return r
	}
	if rt.forwarded {
		return rt.cluster.misplaced(rt, w, r)
	}
	var key uint64
	var err error
	if unary {
		if key, err = rt.fair.enter(&target, r.RemoteAddr); err == nil {
			defer rt.fair.leave(key)
		}
	} else {
		_, err = rt.fair.count(&target, r.RemoteAddr)
	}
	if err != nil {
		rt.refuse(w, r, err)
		return nil
	}
	p := &passing{peers: rt.cluster, router: rt, w: w, r: r, target: target, whole: true}
	p.writes = spec.IdempotencyLevel != connect.IdempotencyNoSideEffects
	p.again = !p.writes || unary && r.Header.Get(wire.HeaderIdempotencyKey) != ""
	return p.pass()
}

// misplaced answers a request that another node has passed on to the wrong one.
func (c *peers) misplaced(rt *router, w http.ResponseWriter, r *http.Request) *http.Request {
	rt.refuse(w, r, notOwner())
	return nil
}

// passing is one request on its way to the node that runs its actor.
type passing struct {
	*peers

	router *router
	w      http.ResponseWriter
	r      *http.Request
	target actors.Target
	body   []byte         // the whole body; nil if it is passed on as it comes
	whole  bool           // it is in body
	again  bool           // it may be sent again though it may have been run
	writes bool           // it is no harm only because of its idempotency key
	lost   *connect.Error // what became of it where it may have been run; nil if nowhere
}

// pass sends the request to the node that runs its actor and its answer back. One that
// this node runs after all is returned, to be served here; else pass returns nil, and
// the request has been answered. A body that is whole is read before it is sent on, so
// that it can be sent again if the actor moves.
func (p *passing) pass() *http.Request {
	p.whole = p.whole || p.r.ContentLength == 0
	if p.whole && p.r.ContentLength != 0 {
		if err := p.read(); err != nil {
			p.router.refuse(p.w, p.r, err)
			return nil
		}
	}
	return p.run()
}

// read reads the request's body.
func (p *passing) read() error {
	limit := int64(p.router.limits.RequestBytes) + envelopeBytes
	var buffer bytes.Buffer
	if n := p.r.ContentLength; n > 0 {
		buffer.Grow(int(min(n, limit)) + bytes.MinRead)
	}
	if _, err := buffer.ReadFrom(io.LimitReader(p.r.Body, limit+1)); err != nil {
		return receiveError(err)
	}
	if int64(buffer.Len()) > limit {
		return tooLarge.errorf("a request has at most %d bytes", p.router.limits.RequestBytes)
	}
	p.body = buffer.Bytes()
	return nil
}

// run sends the request to one node after another until one answers that runs the
// actor.
func (p *passing) run() *http.Request {
	search := placement.Search{Placement: p.placement, Shard: p.host.ShardOf(&p.target)}
	for {
		here := p.host.Admits(&p.target)
		if here && !p.doubtful() {
			return p.local()
		}
		verdict := notOwner()
		node, ok := search.Elsewhere()
		if here {
			node, ok = p.placement.Self(), true // as any other: what it refuses is no verdict
		}
		if ok {
			done, err := p.try(node)
			if done {
				return nil
			}
			if err != nil {
				verdict = err
			}
		}
		if !search.Again(p.r.Context()) {
			if p.lost != nil {
				p.router.refuse(p.w, p.r, p.lost)
				return nil
			}
			p.w.Header()[headerMisrouted] = valueTrue
			p.router.refuse(p.w, p.r, verdict)
			return nil
		}
	}
}

// doubtful reports whether the request may have had its effect at a node that has said
// nothing: then that another one has not run it is no verdict.
func (p *passing) doubtful() bool { return p.lost != nil && p.writes }

// local returns the request to be served here after all.
func (p *passing) local() *http.Request {
	if p.body != nil {
		r := p.r.WithContext(p.r.Context())
		r.Body = io.NopCloser(bytes.NewReader(p.body))
		return r
	}
	return p.r
}

// try sends the request to a node. It is not done if the node does not run the actor
// or cannot be reached, and nothing of the body is gone; nor if the actor has moved
// away from a node that does not answer, and the request does no harm a second time.
func (p *passing) try(node placement.Node) (done bool, verdict *connect.Error) {
	ctx, watch := p.watched(p.r.Context(), node, p.host.ShardOf(&p.target))
	defer watch.stop()
	defer context.AfterFunc(p.stopping, watch.stop)()
	out, body := p.request(ctx, node)
	response, err := p.Do(out)
	watch.answered.Store(true)
	if err != nil {
		failed := p.failure(p.r.Context(), node, err)
		if p.doubtful() {
			failed = p.lost
		}
		_, unsent := errors.AsType[*unsentError](err)
		if (unsent || p.again && watch.movedAway()) && p.r.Context().Err() == nil && !body.begun() {
			if !unsent {
				p.lost = failed
			}
			return false, failed
		}
		p.router.refuse(p.w, p.r, failed)
		return true, nil
	}
	defer func() { _ = response.Body.Close() }()
	if response.Header[headerMisrouted] != nil && !body.begun() {
		_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // so that the connection is used again
		return false, nil
	}
	switch {
	case response.StatusCode == http.StatusSwitchingProtocols:
		p.join(response)
	case p.doubtful() && response.Header[http.CanonicalHeaderKey(wire.HeaderID)] == nil:
		p.router.refuse(p.w, p.r, p.lost) // that this node has not run it says nothing about the one before
	default:
		p.answer(ctx, response)
	}
	return true, nil
}

// request makes what is sent to a node.
func (p *passing) request(ctx context.Context, node placement.Node) (*http.Request, *onceBody) {
	r := p.r
	out := &http.Request{
		Method: r.Method, Host: r.Host, ContentLength: r.ContentLength,
		URL:    &url.URL{Scheme: "https", Host: node.Address, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
		Header: make(http.Header, len(r.Header)+4),
	}
	dropped := r.Header["Connection"]
	for name, values := range r.Header {
		if !hopHeaders[name] && !listed(dropped, name) {
			out.Header[name] = values
		}
	}
	if r.ProtoMajor == 1 && listed(dropped, "Upgrade") {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, r.Header["Upgrade"]
	}
	if listed(r.Header["Te"], "Trailers") {
		out.Header["Te"] = []string{"trailers"}
	}
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // net/http would name itself
	}
	out.Header[headerCaller] = []string{callerOf(r)}
	body := new(onceBody)
	switch {
	case p.whole && len(p.body) == 0:
		out.ContentLength = 0
	case p.whole:
		out.ContentLength = int64(len(p.body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(p.body)), nil }
		out.Body, _ = out.GetBody()
	default:
		body.ReadCloser = r.Body
		out.Body = body
		out.Header["Expect"] = []string{"100-continue"} // the other node looks whose the actor is before it reads
	}
	return out.WithContext(ctx), body
}

// listed reports whether a list of names, as in a Connection header, has one.
func listed(values []string, name string) bool {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), name) {
				return true
			}
		}
	}
	return false
}

// onceBody is a body that can be sent once.
type onceBody struct {
	io.ReadCloser

	mu   sync.Mutex
	read bool // guarded by mu; something of it may be gone
}

// Read implements [io.Reader].
func (b *onceBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	b.mu.Unlock()
	return b.ReadCloser.Read(p)
}

// Close implements [io.Closer]. The server closes the request's own body.
func (b *onceBody) Close() error { return nil }

func (b *onceBody) begun() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}
