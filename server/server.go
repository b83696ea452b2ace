// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/grpcreflect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// compressMinBytes is the size from which a response is worth compressing.
const compressMinBytes = 1024

// Server serves the actors of a registry. [Server.Serve] runs it and
// [Server.Shutdown] ends it, for good; its methods may be called concurrently.
type Server struct {
	cfg     Config
	host    *actors.Host
	handler http.Handler
	http    *http.Server
	health  *health
	watches *watches

	cluster *peers       // nil on a server by itself
	nodes   *http.Server // the listener of the nodes; nil on a server by itself
	hurry   atomic.Bool  // stops without the lame duck
}

// New checks cfg, the registered types and the validation rules of their messages,
// and returns a server that does not listen yet. [Server.Shutdown] must follow,
// served or not.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	validator, err := newValidator()
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	settings := actors.Config{
		Registry: cfg.Registry, Store: cfg.Store, Validate: validator.check, Logger: cfg.Logger,
		CheckReads: cfg.Development, MaxStreamAge: cfg.Limits.StreamAge, Heartbeat: cfg.Limits.Heartbeat,
		ScheduledTurns: cfg.ScheduledTurns, WakeRate: cfg.WakeRate,
		ConcurrentWakes: cfg.ConcurrentWakes, MemoryLimit: cfg.MemoryLimit, MaxReplyBytes: cfg.Limits.ResponseBytes,
	}
	cluster := newPeers(cfg)
	if cluster != nil {
		settings.Placement, settings.Forward = cluster.placement, cluster
	}
	host, err := actors.NewHost(settings)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, host: host, health: newHealth(), cluster: cluster}
	if cluster != nil {
		cluster.host = host
		s.health.lease = &lease{placement: cluster.placement, shards: cfg.Store.Info().Shards}
	}
	if err := s.build(validator); err != nil {
		return nil, errors.Join(fmt.Errorf("server: %w", err), host.Shutdown(context.Background()))
	}
	return s, nil
}

// build makes the handler.
func (s *Server) build(validator *validator) error {
	services := servicesOf(s.host.Methods())
	auth := newAuthenticator(s.cfg)
	lifecycle := newLifecycle(s.host, services, newNamespaces(s.cfg.Namespaces), validator, s.cfg.Logger)
	lifecycle.trusted = auth.serverRole
	if err := validator.compile(append(services, lifecycle.schema())); err != nil {
		return err
	}
	codecs := newCodecs(s.cfg.StrictJSON)
	others := make(otherServices)
	interceptors := []connect.ServerInterceptor{guarded(s.cfg.Logger, others), lifecycleReplies(s.cfg.Limits.ResponseBytes)}
	if s.cluster != nil {
		interceptors = append(interceptors, s.cluster.relay)
	}
	rpc := connect.NewServer(interceptors...)
	edge := &edge{
		runner: s.host, codecs: codecs, namespaces: newNamespaces(s.cfg.Namespaces), log: s.cfg.Logger,
		replyBytes: s.cfg.Limits.ResponseBytes, fair: newFairness(s.cfg.Limits),
	}
	routes := newRouter(s.cfg.Limits, connecthttp.NewErrorWriter())
	routes.auth = auth
	routes.noGet = s.cfg.NoHTTPGet
	routes.cluster, routes.fair = s.cluster, edge.fair
	routes.raw = newRaw(s.host, routes, edge, s.cfg.CORSOrigins)
	routes.events = newEventSource(routes, edge, s.host.Methods())
	for _, m := range s.host.Methods() {
		rpc.Register(connect.Method{Spec: m.Spec, Handler: edge.handler(m)})
		routes.add(m.Spec, true)
	}
	s.watches = newWatches(edge, routes, lifecycle, s.host.Methods(), s.cfg.Limits)
	lifecycle.watches = s.watches
	if s.cluster != nil {
		s.cluster.watches = s.watches
	}
	troupev1connect.RegisterActorServiceHandler(rpc, lifecycle)
	if s.cfg.reflects() {
		grpcreflect.Register(rpc)
	}
	if err := s.health.register(rpc); err != nil {
		return err
	}
	if err := others.register(rpc, s.cfg.Services); err != nil {
		return err
	}
	for spec := range rpc.Specs() {
		if _, ok := routes.routes[spec.Procedure]; ok {
			continue
		}
		if others[spec.Procedure] {
			routes.addOther(spec)
		} else {
			routes.add(spec, false)
		}
	}
	connecthttp.Mount(routes, rpc,
		connecthttp.WithCodecs(codecs.binary, codecs.json),
		connecthttp.WithCompressMinBytes(compressMinBytes),
		connecthttp.WithReadMaxBytes(s.cfg.Limits.RequestBytes),
		connecthttp.WithSendMaxBytes(s.cfg.Limits.ResponseBytes),
		connecthttp.WithConditionalOptions(func(spec connect.Spec) []connecthttp.Option {
			if spec.StreamType == connect.StreamTypeUnary {
				return nil
			}
			// Frames are encoded once for all; compressing each for each
			// subscriber would undo that.
			return []connecthttp.Option{connecthttp.WithCompressMinBytes(s.cfg.Limits.ResponseBytes + 1)}
		}),
	)
	if err := s.mountExtra(routes.extra); err != nil {
		return err
	}
	if err := s.describe(routes.extra, append(services, lifecycle.schema())); err != nil {
		return err
	}
	s.handler = s.front(routes)
	s.http = s.newHTTPServer()
	if s.cluster != nil {
		s.nodes = s.newNodeServer(newNodeHandler(s.host, routes, codecs, s.cfg.Logger))
	}
	return nil
}

// describe serves the description of the services, where reflection is on and nobody
// else has the path.
func (s *Server) describe(mux *http.ServeMux, services []protoreflect.ServiceDescriptor) error {
	if _, taken := s.cfg.Handlers["GET "+openAPIPath]; taken || s.cfg.Handlers[openAPIPath] != nil || !s.cfg.reflects() {
		return nil
	}
	subscriptions, internal := make(map[string]bool), make(map[string]bool)
	for _, m := range s.host.Methods() {
		subscriptions[m.Spec.Procedure], internal[m.Spec.Procedure] = m.Subscription, m.Internal
	}
	document, err := openAPI(services, subscriptions, internal, !s.cfg.NoHTTPGet)
	if err != nil {
		return err
	}
	mux.HandleFunc("GET "+openAPIPath, serveOpenAPI(document))
	return nil
}

// mountExtra adds the plain HTTP handlers.
func (s *Server) mountExtra(mux *http.ServeMux) (err error) {
	defer func() {
		if value := recover(); value != nil { // how a ServeMux reports a bad pattern
			err = fmt.Errorf("field Handlers: %v", value)
		}
	}()
	mux.HandleFunc("GET /healthz", s.health.serveLive)
	mux.HandleFunc("GET /readyz", s.health.serveReady)
	for pattern, handler := range s.cfg.Handlers {
		mux.Handle(pattern, handler)
	}
	return nil
}

// front puts what every request passes before the routes.
func (s *Server) front(routes *router) http.Handler {
	var next http.Handler = routes
	if len(s.cfg.CORSOrigins) > 0 {
		next = withCORS(s.cfg.CORSOrigins, next)
	}
	hosts := newHostList(s.cfg.Listen, s.cfg.AllowedHosts)
	proxies, _ := newProxies(s.cfg.TrustedProxies) // checked with the configuration
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Content-Type-Options"] = valueNoSniff
		if s.health.stopping() {
			w.Header()["Connection"] = valueClose // a client that goes on finds another node
		}
		if hosts.allows(r.Host) {
			next.ServeHTTP(w, proxies.reveal(r))
		} else {
			routes.refuseHost(w, r)
		}
	})
}

// Handler returns the server's handler, for a listener of the caller's own. Behind
// one, no caller has the server role unless Authenticate says so.
func (s *Server) Handler() http.Handler { return s.handler }

type loopbackKey struct{}

// fromLoopback reports whether a call came in by a loopback listener.
func fromLoopback(ctx context.Context) bool {
	loopback, _ := ctx.Value(loopbackKey{}).(bool)
	return loopback
}

func (s *Server) newHTTPServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	limits := s.cfg.Limits
	return &http.Server{
		Handler:           s.handler,
		TLSConfig:         s.cfg.TLS,
		Protocols:         protocols,
		ReadHeaderTimeout: limits.HeaderTimeout, // TLS handshakes have the same
		IdleTimeout:       limits.IdleTimeout,
		MaxHeaderBytes:    limits.HeaderBytes,
		// No ReadTimeout and no WriteTimeout: they would cut streams.
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          limits.StreamsPerConnection,
			MaxReadFrameSize:              64 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               15 * time.Second,
			PingTimeout:                   10 * time.Second,
			WriteByteTimeout:              10 * time.Second,
		},
		ErrorLog:    slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug), // what broken clients do
		ConnContext: withSeat,
		BaseContext: func(l net.Listener) context.Context {
			return context.WithValue(context.Background(), loopbackKey{}, isLoopback(l.Addr().String()))
		},
	}
}

// Serve accepts connections until [Server.Shutdown] and then returns nil. It
// closes listener.
func (s *Server) Serve(listener net.Listener) error {
	if !isLoopback(listener.Addr().String()) && !s.cfg.allowsExposure() {
		return errors.Join(fmt.Errorf("server: %s: %w", listener.Addr(), errExposed), listener.Close())
	}
	if warnings := s.cfg.warnings(); len(warnings) > 0 {
		s.cfg.Logger.Warn("INSECURE SETTINGS", "count", len(warnings), "settings", warnings)
	}
	limited := limitListener(listener, s.cfg.Limits, s.cfg.TLS == nil, s.cfg.Logger)
	limited.exempt, _ = newProxies(s.cfg.TrustedProxies) // checked with the configuration
	var err error
	if s.cfg.TLS != nil {
		err = s.http.ServeTLS(limited, "", "")
	} else {
		err = s.http.Serve(limited)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("server: %w", err)
}

// Shutdown stops accepting, ends subscriptions with a closing frame, waits for the
// calls that run, and puts the actors to sleep. When ctx ends first it cuts what is
// left. A node of a cluster hands its actors over to the others first, and goes on
// with calls meanwhile.
func (s *Server) Shutdown(ctx context.Context) error {
	s.health.drain()
	if s.cluster == nil {
		return s.stop(ctx)
	}
	draining, cancel := timeToDrain(ctx)
	defer cancel()
	err := s.leave(draining)
	s.cluster.stop() // streams that go through this node
	return errors.Join(err, s.stop(ctx), s.part(ctx))
}

// stop ends the public listener and the host.
func (s *Server) stop(ctx context.Context) error {
	s.watches.stop()
	stopped := make(chan error, 1)
	go func() { stopped <- s.http.Shutdown(ctx) }()
	hostErr := s.host.Shutdown(ctx)
	httpErr := <-stopped
	if httpErr != nil {
		httpErr = errors.Join(fmt.Errorf("server: connections were cut: %w", httpErr), s.http.Close())
	}
	return errors.Join(hostErr, httpErr)
}

// newLifecycle makes the lifecycle API.
func newLifecycle(host *actors.Host, services []protoreflect.ServiceDescriptor, namespaces namespaces, validator *validator, log *slog.Logger) *actorService {
	inputs := make(map[string]protoreflect.FullName, len(services))
	for _, service := range services {
		inputs[string(service.FullName())] = ""
		if input := inputOf(service); input != nil {
			inputs[string(service.FullName())] = input.FullName()
		}
	}
	return &actorService{directory: host, namespaces: namespaces, inputs: inputs, check: validator.check, log: log}
}
