// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actorstest

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	troupe "github.com/troupe-dev/troupe/clients/go"
	"github.com/troupe-dev/troupe/server"
)

// baseURL is what clients call the server; nothing resolves it.
const baseURL = "http://localhost"

// stopTimeout bounds a stop in good order.
const stopTimeout = 10 * time.Second

// Server is a server of actors for one test, and a client of it. Its methods may be
// called concurrently.
//
// The clients that it makes belong to the test and not to one run of the server:
// they reach the server that follows a crash or a stop. A call that is under way
// when the server crashes fails as unavailable with the outcome UNKNOWN, or is sent
// again if its method may be.
type Server struct {
	*troupe.Client // in the default namespace

	tb      testing.TB
	cfg     config
	store   *storetest.Faulty
	network network

	mu      sync.Mutex
	node    *node             // guarded by mu; nil while stopped
	crashed []*node           // guarded by mu; may still run code
	holds   []*storetest.Hold // guarded by mu
	clients []*http.Transport // guarded by mu
	closed  bool              // guarded by mu
}

// node is one run of the server, from its start to its crash or stop.
type node struct {
	server   *server.Server
	listener *listener
	lifeline *lifeline
	served   chan error // what Serve returned
}

// New starts a server of the registry's actors. The test's end stops it, and fails
// the test if it does not stop in good order within 10 s.
func New(tb testing.TB, registry *actors.Registry, options ...Option) *Server {
	tb.Helper()
	s := &Server{tb: tb, cfg: config{server: server.Config{
		Registry:    registry,
		Logger:      slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Development: true,
	}}}
	for _, option := range options {
		option.apply(&s.cfg)
	}
	if s.cfg.server.Authenticate == nil {
		s.cfg.server.Authenticate = believe(s.cfg.server.Namespaces)
	}
	inner, err := s.cfg.open(tb)
	if err != nil {
		tb.Fatalf("actorstest: %v", err)
	}
	s.store = storetest.NewFaulty(inner)
	tb.Cleanup(s.Close)
	s.Client = s.Dial()
	if s.node, err = s.start(); err != nil {
		tb.Fatalf("actorstest: %v", err)
	}
	return s
}

// Dial returns another client of the server, for another tenant or with headers of
// its own. The server's end closes it.
func (s *Server) Dial(options ...troupe.Option) *troupe.Client {
	transport := &http.Transport{DialContext: s.network.dial, MaxIdleConnsPerHost: 256}
	s.mu.Lock()
	s.clients = append(s.clients, transport)
	s.mu.Unlock()
	return troupe.Dial(baseURL, append([]troupe.Option{troupe.WithHTTPClient(&http.Client{Transport: transport})}, options...)...)
}

// start starts a server on what is stored.
func (s *Server) start() (*node, error) {
	n := &node{lifeline: &lifeline{Store: s.store}, served: make(chan error, 1)}
	n.lifeline.crash = func() { s.replace(n) }
	cfg := s.cfg.server
	cfg.Store = n.lifeline
	cfg.Logger = slog.New(mortal{cfg.Logger.Handler(), n.lifeline})
	var err error
	if n.server, err = server.New(cfg); err != nil {
		return nil, err
	}
	n.listener = s.network.listen()
	go func() { n.served <- n.server.Serve(n.listener) }()
	return n, nil
}

// Restart ends the server as kill -9 would and starts it again on what was durable:
// no hook runs, connections break, actors lose what they had in memory, and what had
// not been committed is gone. A server that was stopped is started again.
//
// Code of actors that runs meanwhile goes on, since a goroutine cannot be killed, but
// what it does has no effect.
func (s *Server) Restart() {
	s.tb.Helper()
	s.mu.Lock()
	n := s.node
	s.mu.Unlock()
	s.replace(n)
}

// replace starts a new server in the place of n, unless that has been done.
func (s *Server) replace(n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node != n || s.closed {
		return
	}
	if n != nil {
		n.lifeline.end()
		s.crashed = append(s.crashed, n)
	}
	next, err := s.start()
	if err != nil {
		s.tb.Errorf("actorstest: start the server again: %v", err)
	}
	s.node = next
	if n != nil { // from here on the clients that it had can reach the next one
		n.listener.cut()
		forgetConnections(s.clients)
		go n.die()
	}
}

// forgetConnections makes clients dial for their next calls.
func forgetConnections(clients []*http.Transport) {
	for _, client := range clients {
		client.CloseIdleConnections()
	}
}

// die lets go of a server that has crashed, without its hooks.
func (n *node) die() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.server.Shutdown(ended) // awaited by await
}

// Stop stops the server in good order, as SIGTERM does: streams are told, turns end,
// sleep hooks run. It fails the test if that takes more than 10 s. Calls fail as
// unavailable until [Server.Restart].
func (s *Server) Stop() {
	s.tb.Helper()
	s.mu.Lock()
	n := s.node
	s.node = nil
	s.mu.Unlock()
	if n != nil {
		s.await(n)
	}
}

// await waits until a server has stopped.
func (s *Server) await(n *node) {
	s.tb.Helper()
	s.network.leave(n.listener)
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := n.server.Shutdown(ctx); err != nil {
		s.tb.Errorf("actorstest: the server did not stop: %v", err)
	}
	if err := <-n.served; err != nil {
		s.tb.Errorf("actorstest: %v", err)
	}
}

// Close stops the server and closes its store, for good. The test's end does so by
// itself.
func (s *Server) Close() {
	s.tb.Helper()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	crashed, holds, clients := s.crashed, s.holds, s.clients
	s.mu.Unlock()
	for _, hold := range holds {
		hold.Release()
	}
	s.Stop()
	for _, n := range crashed {
		s.await(n)
	}
	forgetConnections(clients)
	if err := s.cfg.close(s.store); err != nil {
		s.tb.Errorf("actorstest: close the store: %v", err)
	}
}

// mortal is the log of one server: it ends with it, so that nobody reads how a
// server that has crashed fails.
type mortal struct {
	slog.Handler

	lifeline *lifeline
}

// Enabled implements [slog.Handler].
func (m mortal) Enabled(ctx context.Context, level slog.Level) bool {
	return m.lifeline.check() == nil && m.Handler.Enabled(ctx, level)
}

// WithAttrs implements [slog.Handler].
func (m mortal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return mortal{m.Handler.WithAttrs(attrs), m.lifeline}
}

// WithGroup implements [slog.Handler].
func (m mortal) WithGroup(name string) slog.Handler {
	return mortal{m.Handler.WithGroup(name), m.lifeline}
}
