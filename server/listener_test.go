// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// TestAPausedProcessBlamesNobody holds that a request which has arrived whole is served
// although the time for its headers passes while it is being read, as it does for a
// process that is frozen there: net/http, which looks at the first bytes of a plain
// connection to know HTTP/2, takes the rest of a line that it gets no more for the
// client's mistake.
func TestAPausedProcessBlamesNobody(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Protocols:         protocols,
		ReadHeaderTimeout: DefaultLimits().HeaderTimeout,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
	}
	limited := limitListener(freezing{listener}, DefaultLimits(), true, slog.New(slog.DiscardHandler))
	go func() { _ = server.Serve(limited) }() // Close ends it
	defer func() { _ = server.Close() }()

	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /somewhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%v after %q", err, answer)
	}
	if want := "HTTP/1.1 204 No Content\r\n"; len(answer) < len(want) || string(answer[:len(want)]) != want {
		t.Errorf("got %q, want %q", answer, want)
	}
}

// freezing accepts connections of a process that is frozen just before it reads for the
// second time.
type freezing struct{ net.Listener }

func (l freezing) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &freezingConn{Conn: conn}, nil
}

type freezingConn struct {
	net.Conn
	reads atomic.Int32
}

// Read implements [net.Conn]. A read of one byte looks whether the client leaves.
func (c *freezingConn) Read(p []byte) (int, error) {
	if len(p) > 1 && c.reads.Add(1) == 2 {
		_ = c.SetReadDeadline(longAgo)
	}
	return c.Conn.Read(p)
}
