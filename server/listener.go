// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// limitedListener bounds the number of open connections, of all addresses and of
// each, and how many come in a second. A connection too many is answered with 503
// and closed as soon as it is accepted.
type limitedListener struct {
	net.Listener
	log        *slog.Logger
	plain      bool // a refusal can be written
	all, perIP int  // perIP 0 is no limit, and there is none for who has no address
	rate       int
	exempt     proxies // from perIP

	mu     sync.Mutex // guards what follows
	open   int
	byIP   map[netip.Addr]int
	tokens float64   // connections that may come at once: a token bucket
	filled time.Time // when tokens was true
	full   bool      // the last connection was refused: the log says so once
}

// burst is how many seconds' worth of new connections may come at once.
const burst = 4

// busyAnswer is what a refused peer reads.
const busyAnswer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

func limitListener(l net.Listener, limits Limits, plain bool, log *slog.Logger) *limitedListener {
	return &limitedListener{
		Listener: l, log: log, plain: plain,
		all: limits.Connections, perIP: limits.ConnectionsPerIP, rate: limits.ConnectionRate,
		byIP: make(map[netip.Addr]int), tokens: float64(burst * limits.ConnectionRate), filled: time.Now(),
	}
}

// Accept implements [net.Listener].
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := ipOf(conn)
		if l.exempt.trust(ip) {
			ip = netip.Addr{}
		}
		if l.admit(ip, time.Now()) {
			return &limitedConn{Conn: conn, begun: !l.plain, closed: sync.OnceFunc(func() { l.leave(ip) })}, nil
		}
		if l.plain {
			_, _ = io.WriteString(conn, busyAnswer) // fits into the empty socket buffer
		}
		_ = conn.Close()
	}
}

func (l *limitedListener) admit(ip netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = min(l.tokens+now.Sub(l.filled).Seconds()*float64(l.rate), float64(burst*l.rate))
	l.filled = now
	if l.open >= l.all || l.tokens < 1 || l.perIP > 0 && ip.IsValid() && l.byIP[ip] >= l.perIP {
		if !l.full {
			l.full = true
			l.log.Warn("connections are refused", "open", l.open, "limit", l.all, "limit_per_ip", l.perIP, "limit_per_second", l.rate)
		}
		return false
	}
	l.full = false
	l.tokens--
	l.open++
	if l.perIP > 0 && ip.IsValid() {
		l.byIP[ip]++
	}
	return true
}

func (l *limitedListener) leave(ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.perIP == 0 || !ip.IsValid() {
		return
	}
	if l.byIP[ip]--; l.byIP[ip] <= 0 {
		delete(l.byIP, ip)
	}
}

func ipOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// aheadBytes is how much of a connection's first bytes is read together: a request
// line, as a rule.
const aheadBytes = 1 << 10

// limitedConn gives its place back when it is closed. The bytes that it gets first are
// read together, and not cut where net/http stops to look for HTTP/2: if the time for
// the headers passed right there, as it does when the process is frozen, net/http would
// take what it has for the whole line and call it a mistake of the client.
type limitedConn struct {
	net.Conn
	closed func()
	begun  bool   // the first bytes have been read
	ahead  []byte // those of them that nobody has asked for yet
}

// Read implements [net.Conn]. Net/http reads one connection from one goroutine at a
// time.
func (c *limitedConn) Read(p []byte) (n int, err error) {
	switch {
	case len(c.ahead) > 0:
	case c.begun || len(p) >= aheadBytes:
		c.begun = true
		return c.Conn.Read(p)
	default:
		first := make([]byte, aheadBytes)
		if n, err = c.Conn.Read(first); n == 0 {
			return 0, err
		}
		c.begun, c.ahead = true, first[:n] // an error comes again
	}
	n = copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil // the memory is free
	}
	return n, nil
}

// Close implements [net.Conn].
func (c *limitedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}
