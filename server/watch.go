// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxCarried is how many subscriptions one shared stream carries at one time.
const maxCarried = 64

// watches holds the shared streams of one server: each carries the subscriptions of
// many actors. It is safe for concurrent use.
type watches struct {
	edge      *edge
	router    *router                          // whose bounds on streams hold for what is carried too
	methods   map[string]*actors.Method        // the subscription of each actor type; nil without one
	inputs    map[string]protoreflect.FullName // as in actorService
	check     func(proto.Message) error
	node      func() string // begins the ids of this server's streams
	heartbeat time.Duration
	age       time.Duration

	quit chan struct{} // closed when the server stops

	mu       sync.Mutex
	open     map[string]*watch // guarded by mu; by id
	stopping bool              // guarded by mu
}

// newWatches makes the shared streams of a server.
func newWatches(edge *edge, router *router, lifecycle *actorService, methods []*actors.Method, limits Limits) *watches {
	ws := &watches{
		edge: edge, router: router, inputs: lifecycle.inputs, check: lifecycle.check, methods: make(map[string]*actors.Method),
		heartbeat: limits.Heartbeat, age: limits.StreamAge,
		quit: make(chan struct{}), open: make(map[string]*watch),
	}
	if name := strings.ToLower(rand.Text()[:10]); router.cluster == nil {
		ws.node = func() string { return name }
	} else {
		ws.node = func() string { return router.cluster.placement.Self().ID }
	}
	for _, m := range methods {
		if m.Subscription {
			ws.methods[m.Type] = m
		} else if ws.methods[m.Type] == nil {
			ws.methods[m.Type] = nil // known
		}
	}
	return ws
}

// Watch implements [troupev1connect.ActorServiceHandler].
func (s *actorService) Watch(ctx context.Context, req *troupev1.WatchRequest, stream troupev1connect.ActorServiceWatchServerStream) error {
	return s.watches.serve(ctx, req, stream)
}

// AddSubscription implements [troupev1connect.ActorServiceHandler].
func (s *actorService) AddSubscription(ctx context.Context, req *troupev1.AddSubscriptionRequest) (*troupev1.AddSubscriptionResponse, error) {
	if err := s.check(req); err != nil {
		return nil, err
	}
	w, err := s.watches.find(ctx, req.GetStream())
	if err != nil {
		return nil, err
	}
	own, err := w.reserve(req.GetSubscription().GetNumber())
	if err != nil {
		return nil, err
	}
	if own != nil {
		w.carry(ctx, own, req.GetSubscription())
	}
	return &troupev1.AddSubscriptionResponse{}, nil
}

// RemoveSubscription implements [troupev1connect.ActorServiceHandler].
func (s *actorService) RemoveSubscription(ctx context.Context, req *troupev1.RemoveSubscriptionRequest) (*troupev1.RemoveSubscriptionResponse, error) {
	if err := s.check(req); err != nil {
		return nil, err
	}
	w, err := s.watches.find(ctx, req.GetStream())
	if err != nil {
		return nil, err
	}
	w.remove(req.GetNumber())
	return &troupev1.RemoveSubscriptionResponse{}, nil
}

// find returns the open stream that token names, if it is the caller's. Whose it
// is otherwise is not told.
func (ws *watches) find(ctx context.Context, token string) (*watch, error) {
	_, id := holderAndID(token)
	w := ws.named(id)
	if w == nil || subtle.ConstantTimeCompare([]byte(token), []byte(w.token())) != 1 || principalOf(ctx).subject() != w.subject {
		return nil, streamGone.errorf("the shared stream of this call is not open; open another one")
	}
	return w, nil
}

// named returns the open stream with an id; nil without one.
func (ws *watches) named(id string) *watch {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.open[id]
}

// serve serves one shared stream, from its first frame to its last.
func (ws *watches) serve(ctx context.Context, req *troupev1.WatchRequest, stream troupev1connect.ActorServiceWatchServerStream) error {
	if err := ws.check(req); err != nil {
		return err
	}
	w, err := ws.begin(ctx, stream)
	if err != nil {
		return err
	}
	defer w.end()
	owns := make([]context.Context, len(req.GetSubscriptions()))
	for n, subscription := range req.GetSubscriptions() {
		if owns[n], err = w.reserve(subscription.GetNumber()); err != nil {
			return err
		}
		if owns[n] == nil {
			return badSubscription.errorf("two subscriptions have the number %d", subscription.GetNumber())
		}
	}
	if err := w.sendOpened(); err != nil {
		return err
	}
	for n, subscription := range req.GetSubscriptions() {
		w.carry(ctx, owns[n], subscription)
	}
	return w.run(ctx)
}

// begin makes a stream that calls can name.
func (ws *watches) begin(ctx context.Context, stream troupev1connect.ActorServiceWatchServerStream) (*watch, error) {
	info, ok := connect.CallInfoForServerContext(ctx)
	writer, overHTTP := ctx.Value(streamWriterKey{}).(*streamWriter)
	if !ok || !overHTTP {
		return nil, errors.New("a shared stream needs its call's metadata and an HTTP response")
	}
	var secret [16]byte
	_, _ = rand.Read(secret[:]) // never fails: see crypto/rand
	w := &watch{
		set: ws, outer: info, node: ws.node(), id: rand.Text(), secret: hex.EncodeToString(secret[:]), subject: principalOf(ctx).subject(),
		carried: make(map[uint32]context.CancelFunc), seen: make(map[uint32]bool),
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.out = newWatchWriter(stream, ws.edge.codecs.named(info.Codec), writer, w.cancel)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.stopping {
		w.cancel(nil)
		return nil, retryAfter(stopping.errorf("the server is stopping"), time.Second)
	}
	ws.open[w.id] = w
	return w, nil
}

// stop has every stream end once what it carries has ended, which
// [actors.Host.Shutdown] sees to.
func (ws *watches) stop() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if !ws.stopping {
		ws.stopping = true
		close(ws.quit)
	}
}
