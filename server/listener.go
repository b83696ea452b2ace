// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
)

// limitedListener bounds the number of open connections, of all addresses and of
// each. A connection too many is closed as soon as it is accepted.
type limitedListener struct {
	net.Listener
	log        *slog.Logger
	all, perIP int // perIP 0 is no limit

	mu   sync.Mutex // guards what follows
	open int
	byIP map[netip.Addr]int
	full bool // the last connection was refused: the log says so once
}

func limitListener(l net.Listener, limits Limits, log *slog.Logger) *limitedListener {
	return &limitedListener{Listener: l, log: log, all: limits.Connections, perIP: limits.ConnectionsPerIP, byIP: make(map[netip.Addr]int)}
}

// Accept implements [net.Listener].
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := ipOf(conn)
		if l.admit(ip) {
			return &limitedConn{Conn: conn, closed: sync.OnceFunc(func() { l.leave(ip) })}, nil
		}
		_ = conn.Close()
	}
}

func (l *limitedListener) admit(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.all || l.perIP > 0 && l.byIP[ip] >= l.perIP {
		if !l.full {
			l.full = true
			l.log.Warn("connections are refused", "open", l.open, "limit", l.all, "limit_per_ip", l.perIP)
		}
		return false
	}
	l.full = false
	l.open++
	if l.perIP > 0 {
		l.byIP[ip]++
	}
	return true
}

func (l *limitedListener) leave(ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.perIP == 0 {
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
