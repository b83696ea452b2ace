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
			return &limitedConn{Conn: conn, closed: sync.OnceFunc(func() { l.leave(ip) })}, nil
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

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	closed func()
}

// Close implements [net.Conn].
func (c *limitedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}
