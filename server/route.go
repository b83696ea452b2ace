// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
)

// Values of headers that every response shares. Nothing changes them: who appends
// to a full slice makes a new one.
var (
	valueNoStore = []string{"no-store"}
	valueNoSniff = []string{"nosniff"}
	valueNo      = []string{"no"}
	valueClose   = []string{"close"}
)

// route is what serves one procedure.
type route struct {
	handler http.Handler // Connect's
	spec    connect.Spec
	actor   bool // one of an actor type
	open    bool // needs no authentication
	other   bool // one of a service of the program's own: Connect answers what it does not take
	accepts map[string]bool
}

// router finds the route of a request and admits it. Its normal path looks one map
// up and changes nothing of the request.
type router struct {
	routes   map[string]*route
	services map[string]bool
	others   map[string]http.Handler // answers unknown methods of the program's own services
	extra    *http.ServeMux          // health and the content of others
	errors   *connecthttp.ErrorWriter

	limits        Limits
	auth          *authenticator
	raw           *raw
	events        *eventSource
	noGet         bool   // procedures do not answer HTTP GET
	cluster       *peers // nil on a server by itself
	fair          *fairness
	forwarded     bool // serves what other nodes pass on
	calls         *gate
	subscriptions *gate
	probes        *gate // of subscriptions, those that need no principal
	checks        *gate // likewise of calls
	guards        *sync.Pool

	principalCalls, principalStreams *shares
}

func newRouter(limits Limits, errors *connecthttp.ErrorWriter) *router {
	return &router{
		routes:        make(map[string]*route),
		services:      make(map[string]bool),
		others:        make(map[string]http.Handler),
		extra:         http.NewServeMux(),
		errors:        errors,
		limits:        limits,
		calls:         newGate(limits.Calls),
		subscriptions: newGate(limits.Subscriptions),
		probes:        newGate(max(limits.Subscriptions/probeShare, 1)),
		checks:        newGate(max(limits.Calls/probeShare, 1)),
		guards:        newGuards(),

		principalCalls:   newShares(limits.CallsPerPrincipal),
		principalStreams: newShares(limits.SubscriptionsPerPrincipal),
	}
}

// Handle implements [connecthttp.ServeMux], to collect what Connect mounts. The
// routes of the procedures are there already; Connect's own handler for unknown
// methods, whose pattern ends in a slash, is left out for ours, but for the services
// that are the program's own.
func (rt *router) Handle(pattern string, handler http.Handler) {
	if r, ok := rt.routes[pattern]; ok {
		r.handler = handler
	} else if service := serviceName(pattern); rt.others[service] != nil && pattern == "/"+service+"/" {
		rt.others[service] = handler
	}
}

// addOther makes a route of a service of the program's own.
func (rt *router) addOther(spec connect.Spec) {
	rt.add(spec, false)
	rt.routes[spec.Procedure].other = true
	rt.others[serviceName(spec.Procedure)] = http.NotFoundHandler() // until Connect mounts its own
}

// add makes a route, which mounting then gives its handler.
func (rt *router) add(spec connect.Spec, actor bool) {
	types := unaryTypes
	if spec.StreamType != connect.StreamTypeUnary {
		types = streamTypes
	}
	accepts := make(map[string]bool, len(types))
	for _, name := range types {
		accepts[name] = true
	}
	service := serviceName(spec.Procedure)
	rt.routes[spec.Procedure] = &route{spec: spec, actor: actor, open: service == healthService, accepts: accepts}
	rt.services[service] = true
}

// ServeHTTP implements [http.Handler].
func (rt *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, ok := rt.routes[r.URL.Path]
	byURL := strings.HasPrefix(r.URL.Path, urlPrefix) && (!ok || r.URL.RawPath != "")
	if !ok && !byURL {
		rt.serveElse(w, r)
		return
	}
	if byURL || !found.open {
		if r, ok = rt.authenticate(w, r); !ok {
			return
		}
	}
	if byURL {
		address, err := parseURLAddress(r.URL.EscapedPath())
		switch {
		case err != nil:
			rt.refuse(w, r, err)
			return
		case address.procedure == "":
			rt.raw.serve(w, r, &address)
			return
		}
		if r, found = rt.moveURLAddress(w, r, &address); found == nil {
			return
		}
	}
	switch {
	case !rt.admit(w, r, found):
	case r.Method == http.MethodGet && rt.events.takes(r, found):
		rt.events.serve(w, r, found)
	case found.spec.StreamType == connect.StreamTypeUnary:
		rt.serveUnary(w, r, found)
	default:
		rt.serveStream(w, r, found)
	}
}

// authenticate finds out who calls, or refuses the request.
func (rt *router) authenticate(w http.ResponseWriter, r *http.Request) (_ *http.Request, ok bool) {
	if rt.auth == nil {
		return r, true
	}
	r, err := rt.auth.authenticate(r)
	if err != nil {
		rt.refuse(w, r, err)
	}
	return r, err == nil
}

// serveElse serves what is no known procedure.
func (rt *router) serveElse(w http.ResponseWriter, r *http.Request) {
	if handler := rt.others[serviceName(r.URL.Path)]; handler != nil {
		var known bool
		if r, known = rt.authenticate(w, r); !known {
			return
		}
		rt.limitBody(w, r)
		handler.ServeHTTP(w, r)
		return
	}
	_, pattern := rt.extra.Handler(r)
	if (pattern == "" || pattern == "/") && isRPC(r) {
		rt.refuse(w, r, rt.unknown(r.URL.Path))
		return
	}
	if pattern == "" || r.Method == http.MethodGet || r.Method == http.MethodHead {
		rt.limitBody(w, r)
	}
	rt.extra.ServeHTTP(w, r)
}

// moveURLAddress finds the route of a request whose address is in its URL, and
// moves the address into the metadata. It refuses the request if there is none.
func (rt *router) moveURLAddress(w http.ResponseWriter, r *http.Request, address *urlAddress) (*http.Request, *route) {
	moved, err := withURLAddress(r, address)
	if err != nil {
		rt.refuse(w, r, err)
		return r, nil
	}
	found, ok := rt.routes[moved.URL.Path]
	switch {
	case !ok:
		rt.refuse(w, r, rt.unknown(moved.URL.Path))
		return r, nil
	case !found.actor:
		rt.refuse(w, r, badURLAddress.errorf("%s is not an actor type", serviceName(moved.URL.Path)))
		return r, nil
	}
	return moved, found
}

// admit reports whether a request may go on to Connect; otherwise it has refused it.
func (rt *router) admit(w http.ResponseWriter, r *http.Request, found *route) bool {
	header := w.Header()
	header["Cache-Control"] = valueNoStore
	switch {
	case r.Method == http.MethodGet && rt.noGet:
		header.Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return false
	case r.Method == http.MethodGet && found.answersGet() && !acceptsEncoding(r):
		rt.refuseEncoding(w, r)
		return false
	case r.Method == http.MethodPost && !found.other:
		if !found.acceptsType(r) {
			rt.refuseType(w, r, found)
			return false
		}
		if r.ContentLength > int64(rt.limits.RequestBytes)+envelopeBytes {
			rt.refuse(w, r, tooLarge.errorf("the request body has %d bytes, and a request at most %d", r.ContentLength, rt.limits.RequestBytes))
			return false
		}
	}
	return true
}

// serveUnary serves a call.
func (rt *router) serveUnary(w http.ResponseWriter, r *http.Request, found *route) {
	if found.open {
		if !rt.checks.enter() {
			rt.refuse(w, r, retryAfter(tooManyCalls.errorf("this server has %d calls in flight that ask for its health", rt.checks.limit), busyDelay))
			return
		}
		defer rt.checks.leave()
	}
	if !rt.calls.enter() {
		rt.refuse(w, r, retryAfter(tooManyCalls.errorf("this server has %d calls in flight", rt.limits.Calls), busyDelay))
		return
	}
	defer rt.calls.leave()
	share, ok := rt.principalCalls.enterPrincipal(r.Context())
	if !ok {
		rt.refuse(w, r, retryAfter(callsOfPrincipal.errorf("the caller has %d calls in flight", rt.limits.CallsPerPrincipal), busyDelay))
		return
	}
	defer rt.principalCalls.leavePrincipal(share)
	capTimeout(r.Header, rt.limits.ActionTimeout)
	guard := newGuard(rt.guards, w, r, &rt.limits, rt.errors)
	if rt.cluster != nil && found.actor {
		if r = rt.place(guard, r, &found.spec, true); r == nil {
			guard.release()
			return
		}
	}
	var place *seat
	if r.ProtoMajor == 1 {
		if place, _ = r.Context().Value(seatKey{}).(*seat); place != nil {
			place.guard = guard
		}
	}
	found.handler.ServeHTTP(guard, r)
	if place != nil {
		place.guard = nil
	}
	guard.release()
}

// probeShare is the part of all calls, and of all subscriptions, that may be of those
// whom nobody knows.
const probeShare = 10

// busyDelay is when a refused caller should try again.
const busyDelay = 100 * time.Millisecond

// envelopeBytes is what frames a message in a streaming protocol.
const envelopeBytes = 5

// serveStream serves a subscription or another stream. What is on the stack here
// stays there as long as the stream.
func (rt *router) serveStream(w http.ResponseWriter, r *http.Request, found *route) {
	if found.open {
		if !rt.probes.enter() {
			rt.refuse(w, r, retryAfter(tooManyStreams.errorf("this server has %d streams that watch its health", rt.probes.limit), time.Second))
			return
		}
		defer rt.probes.leave()
	}
	share, ok := rt.enterStream(w, r)
	if !ok {
		return
	}
	defer rt.leaveStream(share)
	writer, r, guard := rt.openStream(w, r, found)
	defer closeStream(writer, guard)
	if rt.cluster != nil && found.actor {
		if r = rt.place(writer, r, &found.spec, false); r == nil {
			return
		}
	}
	found.handler.ServeHTTP(writer, r)
}

// enterStream admits a stream, or refuses it.
func (rt *router) enterStream(w http.ResponseWriter, r *http.Request) (share uint64, ok bool) {
	share, err := rt.admitStream(r.Context())
	if err != nil {
		rt.refuse(w, r, err)
	}
	return share, err == nil
}

// admitStream gives a stream its place among those of the server and of its
// principal. [router.leaveStream] must follow unless it refuses.
func (rt *router) admitStream(ctx context.Context) (share uint64, err error) {
	if !rt.subscriptions.enter() {
		return 0, retryAfter(tooManyStreams.errorf("this server has %d subscriptions", rt.limits.Subscriptions), time.Second)
	}
	share, ok := rt.principalStreams.enterPrincipal(ctx)
	if !ok {
		rt.subscriptions.leave()
		return 0, retryAfter(streamsOfSubject.errorf("the caller has %d subscriptions", rt.limits.SubscriptionsPerPrincipal), time.Second)
	}
	return share, nil
}

func (rt *router) leaveStream(share uint64) {
	rt.principalStreams.leavePrincipal(share)
	rt.subscriptions.leave()
}

// openStream guards a stream. Guard is nil if the stream's requests have no end to
// wait for.
func (rt *router) openStream(w http.ResponseWriter, r *http.Request, found *route) (*streamWriter, *http.Request, *guard) {
	w.Header()["X-Accel-Buffering"] = valueNo
	writer := newStreamWriter(w, rt.limits.WriteTimeout)
	r = r.WithContext(context.WithValue(r.Context(), streamWriterKey{}, writer))
	if found.spec.StreamType == connect.StreamTypeServer {
		return writer, r, newGuard(rt.guards, w, r, &rt.limits, rt.errors)
	}
	return writer, r, nil
}

func closeStream(writer *streamWriter, guard *guard) {
	if guard != nil {
		guard.release()
	}
	writer.disarm()
}

// serviceName returns the package.Service of /package.Service/Method.
func serviceName(procedure string) string {
	service, _, _ := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	return service
}
