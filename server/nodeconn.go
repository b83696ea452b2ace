// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
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

// nodeConn is a connection of another node. It is closed with a farewell while no
// request is being served, in the form of an answer: a node whose request meets it
// knows that nothing has been run, which the bare end of a connection does not tell. A
// request that comes at that very moment may still be read, and is refused: a node that
// closes its connections has handed everything over.
type nodeConn struct {
	*tls.Conn
	idle atomic.Bool
}

// farewell has the status that net/http expects on a connection that nobody uses.
const farewell = "HTTP/1.1 408 Request Timeout\r\n" + headerMisrouted + ": true\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// farewellTimeout bounds the writing of a farewell, which fits into a socket's buffer.
const farewellTimeout = time.Second

// Close implements [net.Conn].
func (c *nodeConn) Close() error {
	if c.idle.Swap(false) && c.ConnectionState().HandshakeComplete {
		_ = c.SetWriteDeadline(time.Now().Add(farewellTimeout))
		_, _ = io.WriteString(c.Conn, farewell) // the other node may be gone
	}
	return c.Conn.Close()
}

// noteState is the ConnState of the nodes' server.
func noteState(conn net.Conn, state http.ConnState) {
	if c, ok := conn.(*nodeConn); ok {
		c.idle.Store(state == http.StateNew || state == http.StateIdle)
	}
}

// isFarewell reports whether an answer is the end of its connection.
func isFarewell(response *http.Response) bool {
	return response.StatusCode == http.StatusRequestTimeout && response.Header[headerMisrouted] != nil
}
