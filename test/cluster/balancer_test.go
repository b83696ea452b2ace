// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// balancer passes connections on to servers that say they are ready, as the balancers
// of real clusters do.
type balancer struct {
	listener net.Listener
	stop     chan struct{}
	running  sync.WaitGroup

	mu    sync.Mutex
	urls  []string              // guarded by mu; all servers
	ready []string              // guarded by mu
	next  int                   // guarded by mu
	conns map[net.Conn]struct{} // guarded by mu
}

func newBalancer(t *testing.T, urls ...string) *balancer {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: listener, stop: make(chan struct{}), urls: urls, conns: make(map[net.Conn]struct{})}
	b.probe()
	b.running.Go(b.accept)
	b.running.Go(func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-b.stop:
				return
			case <-ticker.C:
				b.probe()
			}
		}
	})
	t.Cleanup(func() {
		close(b.stop)
		_ = listener.Close()
		b.mu.Lock()
		for conn := range b.conns {
			_ = conn.Close()
		}
		b.mu.Unlock()
		b.running.Wait()
	})
	return b
}

// url is where clients reach the servers.
func (b *balancer) url() string { return "http://" + b.listener.Addr().String() }

// serve replaces one server by another.
func (b *balancer) serve(old, fresh string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, url := range b.urls {
		if url == old {
			b.urls[i] = fresh
		}
	}
}

func (b *balancer) probe() {
	b.mu.Lock()
	urls := append([]string(nil), b.urls...)
	b.mu.Unlock()
	var found []string
	for _, url := range urls {
		if ready(url) {
			found = append(found, url)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = found
}

func (b *balancer) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.running.Go(func() { b.join(conn) })
	}
}

func (b *balancer) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return ""
	}
	b.next++
	return strings.TrimPrefix(b.ready[b.next%len(b.ready)], "http://")
}

func (b *balancer) join(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", b.pick())
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	b.track(client, true)
	b.track(server, true)
	defer b.track(client, false)
	defer b.track(server, false)
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	_, _ = io.Copy(client, server)
	_ = client.Close()
	both.Wait()
}

func (b *balancer) track(conn net.Conn, on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if on {
		b.conns[conn] = struct{}{}
	} else {
		delete(b.conns, conn)
	}
}
