// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// condition is what a link does to the bytes that go over it. The zero condition is a
// link in order.
type condition struct {
	// cut breaks the connections that there are and refuses new ones.
	cut bool
	// holdThere and holdBack keep the bytes of one direction, until the link is in
	// order again: then they arrive, whatever has become of who sent them.
	holdThere, holdBack bool
	// holdCommits keeps commits alone, on their way to the database, likewise.
	holdCommits bool
	// swallow breaks a connection once the database has answered a commit on it,
	// and keeps the answer.
	swallow bool
}

// pair is a link: from a node to another one, or to the database.
type pair struct{ from, to int }

// database stands for the database in a pair.
const database = -1

// network is all the links between some nodes and their database, through gates that know
// or find out who connects.
type network struct {
	t testing.TB

	mu      sync.Mutex
	links   map[pair]*link // guarded by mu
	gates   []net.Listener
	running sync.WaitGroup
}

func newNetwork(t testing.TB) *network {
	n := &network{t: t, links: make(map[pair]*link)}
	t.Cleanup(func() {
		for _, gate := range n.gates {
			_ = gate.Close() // only once
		}
		n.mu.Lock()
		for _, l := range n.links {
			l.set(condition{cut: true})
		}
		n.mu.Unlock()
		n.running.Wait()
	})
	return n
}

// gate returns an address under which nodes reach a target. Whose says which of them has
// opened a connection.
func (n *network) gate(whose func(net.Conn) (int, bool), to int, target string) string {
	listener, err := new(net.ListenConfig).Listen(n.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.gates = append(n.gates, listener)
	n.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n.running.Go(func() {
				from, known := whose(conn)
				if !known { // it has gone already
					_ = conn.Close()
					return
				}
				n.link(from, to).carry(conn, target)
			})
		}
	})
	return listener.Addr().String()
}

func (n *network) link(from, to int) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.links[pair{from, to}]
	if l == nil {
		l = &link{changed: make(chan struct{}), open: make(map[*passage]struct{})}
		n.links[pair{from, to}] = l
	}
	return l
}

// swallowed is how many answers to commits were kept.
func (n *network) swallowed() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := 0
	for _, l := range n.links {
		l.mu.Lock()
		all += l.swallowed
		l.mu.Unlock()
	}
	return all
}

// heal puts every link in order.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.set(condition{})
	}
}

// link is the connections of one pair.
type link struct {
	mu        sync.Mutex
	now       condition             // guarded by mu
	changed   chan struct{}         // guarded by mu; closed when now changes
	open      map[*passage]struct{} // guarded by mu
	commits   int                   // guarded by mu; that have come as far as here
	swallowed int                   // guarded by mu
}

func (l *link) set(c condition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = c
	close(l.changed)
	l.changed = make(chan struct{})
	if c.cut {
		for p := range l.open {
			p.end(true)
		}
	}
}

func (l *link) condition() (condition, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now, l.changed
}

// passage is one connection through a link.
type passage struct {
	client, server net.Conn
	ended          chan struct{} // closed by end
	once           sync.Once
	// swallowing is closed when answers are to go nowhere.
	swallowing chan struct{}
	last       bool // of the requests' direction: swallowing is closed
}

// end closes both connections. With a reset, as after a machine is gone, what is under
// way is lost.
func (p *passage) end(reset bool) {
	p.once.Do(func() {
		close(p.ended)
		for _, conn := range []net.Conn{p.client, p.server} {
			if tcp, ok := conn.(*net.TCPConn); ok && reset {
				_ = tcp.SetLinger(0) // it is open
			}
			_ = conn.Close() // only here
		}
	})
}

// carry carries a connection until it ends.
func (l *link) carry(client net.Conn, target string) {
	server, err := net.Dial("tcp", target)
	if err != nil {
		_ = client.Close() // the target is down
		return
	}
	p := &passage{client: client, server: server, ended: make(chan struct{}), swallowing: make(chan struct{})}
	defer p.end(false)
	l.mu.Lock()
	if l.now.cut {
		l.mu.Unlock()
		return
	}
	l.open[p] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, p)
	}()
	var back sync.WaitGroup
	back.Go(func() {
		defer p.end(false) // nobody asks any more once the target has ended
		l.pump(p, server, client, l.answer)
	})
	l.pump(p, client, server, l.request)
	if tcp, ok := server.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // the target reads what was sent before
	}
	back.Wait()
}

// pump carries bytes one way until that ends, or until pass says so of some.
func (l *link) pump(p *passage, from io.Reader, to io.Writer, pass func(p *passage, b []byte) bool) {
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		if !pass(p, b[:n]) {
			return
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// request waits until the bytes of a request may go on, and reports whether they may. A
// commit binds the parameters of the statement by that name: see actors/store/postgres.
func (l *link) request(p *passage, b []byte) bool {
	i := bytes.Index(b, []byte("\x00troupe_commit\x00"))
	commit := i >= 5 && b[i-5] == 'B'
	if commit {
		l.mu.Lock()
		l.commits++
		if l.now.swallow && !p.last {
			p.last = true
			close(p.swallowing)
		}
		l.mu.Unlock()
	}
	return l.await(p, func(c condition) bool { return c.holdThere || c.holdCommits && commit })
}

// answer does the same with the bytes of an answer.
func (l *link) answer(p *passage, b []byte) bool {
	if !l.await(p, func(c condition) bool { return c.holdBack }) {
		return false
	}
	select {
	case <-p.swallowing:
	default:
		return true
	}
	if len(b) > 0 {
		l.mu.Lock()
		l.swallowed++
		l.mu.Unlock()
	}
	return false
}

// await waits as long as the link holds bytes up. It reports whether the connection is
// still there.
func (l *link) await(p *passage, held func(condition) bool) bool {
	for {
		now, changed := l.condition()
		if !held(now) {
			return true
		}
		select {
		case <-changed:
		case <-p.ended:
			return false
		}
	}
}

// seen is how many commits have come as far as the link.
func (l *link) seen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.commits
}
