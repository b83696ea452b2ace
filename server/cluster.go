// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/internal/httponce"
)

// Cluster makes a server one node of several. Each request goes to the node that
// runs its actor, by the nodes' own listeners: see [Server.ServeNodes].
type Cluster struct {
	// Placement says which node runs which actors. Required. Its own node's
	// address is where others reach the listener of [Server.ServeNodes]. The
	// server starts, drains and closes it.
	Placement placement.Placement
	// TLS is what nodes know each other by: made by [ClusterSecret] or
	// [ClusterCertificates]. Required.
	TLS *tls.Config
	// LameDuck is how long a server that stops goes on as before while it says
	// that it is not ready, so that balancers learn of it. 0 is not at all.
	LameDuck time.Duration
}

func (c *Cluster) validate() error {
	switch {
	case c.Placement == nil:
		return errors.New("field Cluster.Placement is nil")
	case c.TLS == nil || len(c.TLS.Certificates) == 0 || c.TLS.ClientAuth < tls.RequireAnyClientCert:
		return errors.New("field Cluster.TLS asks nodes for no certificate: make it by ClusterSecret or ClusterCertificates")
	case c.LameDuck < 0:
		return errors.New("field Cluster.LameDuck is negative")
	}
	return nil
}

// Bounds of the connections between nodes. A connection is closed by the node that
// has opened it, before the other one would: see [Server.newNodeServer].
const (
	nodeDialTimeout     = 2 * time.Second
	nodeKeepAlive       = 5 * time.Second
	nodeConnections     = 1024 // idle ones to one node
	nodeIdleTimeout     = 60 * time.Second
	nodeContinueTimeout = 5 * time.Second
	nodeMessageBytes    = 64 << 20
)

// peers is the other nodes, as the edge sees them. It is safe for concurrent use.
type peers struct {
	placement placement.Placement
	host      *actors.Host // set before the first request
	watches   *watches     // likewise
	http      *http.Transport
	log       *slog.Logger
	stopping  context.Context //nolint:containedctx // ends when streams through this node are cut
	stop      context.CancelFunc

	rpc   sync.Map                                  // connect.Transport by address
	nodes atomic.Pointer[map[string]placement.Node] // by id, which never means another node, as last asked
	look  look
}

func newPeers(cfg Config) *peers {
	if cfg.Cluster == nil {
		return nil
	}
	c := &peers{placement: cfg.Cluster.Placement, log: cfg.Logger, look: newLook()}
	c.stopping, c.stop = context.WithCancel(context.Background())
	dialer := &net.Dialer{Timeout: nodeDialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: nodeKeepAlive, Interval: nodeKeepAlive, Count: 3,
	}}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	secure := cfg.Cluster.TLS.Clone()
	c.http = &http.Transport{
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, nodeDialTimeout)
			defer cancel()
			conn, err := (&tls.Dialer{NetDialer: dialer, Config: secure}).DialContext(ctx, network, address)
			if err != nil {
				return nil, &unsentError{err}
			}
			return conn, nil
		},
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    nodeConnections,
		IdleConnTimeout:        nodeIdleTimeout,
		ExpectContinueTimeout:  nodeContinueTimeout,
		MaxResponseHeaderBytes: 8 << 20,
	}
	return c
}

// close ends the streams that go through this node and its connections.
func (c *peers) close() {
	c.stop()
	c.http.CloseIdleConnections()
}

// unsentError is why nothing of a request can have been run: no connection came about,
// or it had ended.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

var (
	errFarewell = errors.New("the node has closed the connection")
	errSentOnce = errors.New("the request was sent, its connection ended, and nothing has been run of its repetition")
)

// Do implements [connecthttp.HTTPClient]. Net/http sends a request again by itself if its
// connection ends before the answer and the method is harmless to HTTP, or a header has
// an idempotency key. The method may write all the same: that its repetition was not run
// says nothing about the request. A key has nothing repeated here, since not every one of
// them is a key of ours.
func (c *peers) Do(r *http.Request) (*http.Response, error) {
	var connections atomic.Int32 // that it was written to; counted if it may be repeated
	if r.Method != http.MethodPost {
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { connections.Add(1) },
		}))
	}
	response, err := c.http.RoundTrip(httponce.Request(r))
	if err != nil {
		if _, unsent := errors.AsType[*unsentError](err); unsent && connections.Load() > 0 {
			return nil, errSentOnce
		}
		return nil, err
	}
	if connections.Load() > 1 && response.Header[headerMisrouted] != nil {
		_ = response.Body.Close()
		return nil, errSentOnce
	}
	if isFarewell(response) {
		_ = response.Body.Close()
		return nil, &unsentError{errFarewell}
	}
	return response, nil
}

// client returns what makes clients of the services of a node.
func (c *peers) client(node placement.Node) *connect.Client {
	if known, ok := c.rpc.Load(node.Address); ok {
		return known.(*connect.Client) //nolint:forcetypeassert // the map's only type
	}
	client := connect.NewClient(connecthttp.NewTransport(c, "https://"+node.Address,
		connecthttp.WithReadMaxBytes(nodeMessageBytes), connecthttp.WithCompressors()))
	known, _ := c.rpc.LoadOrStore(node.Address, client)
	return known.(*connect.Client) //nolint:forcetypeassert // the map's only type
}

// failure is the error about a request that has got no answer from a node.
func (c *peers) failure(ctx context.Context, node placement.Node, err error) *connect.Error {
	_, unsent := errors.AsType[*unsentError](err)
	switch {
	case unsent && ctx.Err() == nil:
		c.log.DebugContext(ctx, "a node cannot be reached", "node", node.ID, "address", node.Address, "error", err)
		return retryAfter(nodeUnreachable.errorf("the node that runs the actor cannot be reached"), moveDelay).WithCause(err)
	case unsent:
		return ended(ctx, callerGone.errorf, callerTimeout.errorf)
	case ctx.Err() != nil:
		return ended(ctx, callerGone.unknownf, callerTimeout.unknownf)
	}
	c.log.WarnContext(ctx, "a node has not answered", "node", node.ID, "address", node.Address, "error", err)
	return answerLost.unknownf("the node that runs the actor has not answered").WithCause(err)
}

// ended is the error about a request whose context has ended.
func ended(ctx context.Context, gone, late func(string, ...any) *connect.Error) *connect.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return late("the call ended before its answer")
	}
	return gone("the call ended before its answer")
}

// moveDelay is when to call an actor again that moves to another node.
const moveDelay = 250 * time.Millisecond

// start takes part in the cluster, once this node can be reached.
func (c *peers) start() error {
	self := c.placement.Self()
	if self.Address == "" || strings.HasPrefix(self.Address, ":") {
		return fmt.Errorf("server: the node %s is advertised under %q, where others do not reach it", self.ID, self.Address)
	}
	if err := c.placement.Start(c.host); err != nil {
		return fmt.Errorf("server: join the cluster: %w", err)
	}
	return nil
}
