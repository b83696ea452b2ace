// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// nodeListener accepts the connections of other nodes.
type nodeListener struct {
	net.Listener
	tls *tls.Config
}

// Accept implements [net.Listener]. The handshake comes with the first read.
func (l *nodeListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &nodeConn{Conn: tls.Server(conn, l.tls)}, nil
}

// nodeConn is a connection of another node. It says goodbye, as TLS does, only while no
// request is being served: so that a node whose request meets the end of a connection
// can tell that nothing has been run from that nobody knows. A request that comes at
// that very moment may still be read, and is refused: a node that closes its
// connections has handed everything over.
type nodeConn struct {
	*tls.Conn
	busy atomic.Bool
}

// Close implements [net.Conn].
func (c *nodeConn) Close() error {
	if c.busy.Load() {
		return c.NetConn().Close()
	}
	return c.Conn.Close()
}

// noteState is the ConnState of the nodes' server.
func noteState(conn net.Conn, state http.ConnState) {
	if c, ok := conn.(*nodeConn); ok {
		c.busy.Store(state == http.StateActive)
	}
}

// saidGoodbye reports whether a request has got no answer because the other node had
// closed the connection while nothing was served on it.
func saidGoodbye(err error) bool {
	return errors.Is(err, io.EOF) || strings.HasSuffix(err.Error(), "http: server closed idle connection")
}
