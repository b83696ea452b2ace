// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/server"
)

// settings are what a scenario wants of its server, and a client of its run.
type settings struct {
	// TLS has the server speak TLS, with a certificate that nobody has signed.
	TLS bool `json:"tls"`
	// Origin is the one whose pages may call, if any.
	Origin string `json:"origin"`
	// StreamAgeMs is how long a subscription lasts. 0 is the server's default.
	StreamAgeMs int64 `json:"streamAgeMs"`
	// HeartbeatMs is the longest silence of a subscription. 0 is the server's
	// default.
	HeartbeatMs int64 `json:"heartbeatMs"`
}

// run is a server of its own, behind a network of its own, over a store that
// outlives its restarts.
type run struct {
	settings    settings
	certificate tls.Certificate
	store       store.Store
	proxy       *proxy // the network that steps break
	direct      *proxy // one that always works

	mu   sync.Mutex // held while the server starts and stops
	stop func() error
}

// stopTime is what a server gets to stop in good order.
const stopTime = 10 * time.Second

func newRun(s settings, certificate tls.Certificate) (*run, error) {
	network, err := newProxy()
	if err != nil {
		return nil, err
	}
	direct, err := newProxy()
	if err != nil {
		network.close()
		return nil, err
	}
	r := &run{settings: s, certificate: certificate, store: memory.New(memory.Options{}), proxy: network, direct: direct}
	if err := r.start(); err != nil {
		network.close()
		direct.close()
		return nil, err
	}
	return r, nil
}

// url is where clients reach the server through a network.
func (r *run) url(network *proxy) string {
	if r.settings.TLS {
		return "https://" + network.address()
	}
	return "http://" + network.address()
}

// start starts a server over what the last one has stored.
func (r *run) start() error {
	cfg := server.Config{
		Registry: newRegistry(), Store: r.store, Listen: "127.0.0.1:0",
		Logger: slog.New(slog.DiscardHandler),
		Limits: server.Limits{
			StreamAge: time.Duration(r.settings.StreamAgeMs) * time.Millisecond,
			Heartbeat: time.Duration(r.settings.HeartbeatMs) * time.Millisecond,
		},
	}
	if r.settings.Origin != "" {
		cfg.CORSOrigins = []string{r.settings.Origin}
	}
	if r.settings.TLS {
		cfg.TLS = &tls.Config{Certificates: []tls.Certificate{r.certificate}, MinVersion: tls.VersionTLS12}
	}
	s, err := server.New(cfg)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, s.Shutdown(context.Background()))
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(narrow{listener}) }()
	r.stop = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		return errors.Join(s.Shutdown(ctx), <-served)
	}
	r.proxy.setBackend(listener.Addr().String())
	r.direct.setBackend(listener.Addr().String())
	return nil
}

// narrow is a listener whose connections hold little that the peer has not taken, so
// that a peer which takes nothing is noticed soon.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(buffer) // a larger one is only slower to fill
	}
	return conn, err
}

// act does what a step says. It reports whether it knows the act.
func (r *run) act(act string, amount time.Duration) (known bool, err error) {
	switch act {
	case "restart": // clients are told
		return true, r.restart()
	case "crash": // they are not
		r.proxy.act("down", 0)
		err := r.restart()
		r.proxy.act("up", 0)
		return true, err
	}
	return r.proxy.act(act, amount), nil
}

func (r *run) restart() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.stop(); err != nil {
		return err
	}
	return r.start()
}

// close ends the run. What is left of calls is cut.
func (r *run) close() error {
	r.proxy.close()
	r.direct.close()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop()
}
