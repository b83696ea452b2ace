// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"testing"
)

// What the proxy does to the next commit.
type trick int

const (
	pass          trick = iota
	loseAnswer          // the server gets it, its answer goes nowhere
	loseRequest         // the server never gets it
	delayRequest        // the server gets it when the test says so
	loseAndRefuse       // as loseAnswer, and further connections are refused until reset
)

// proxy stands between a store and its server, and knows a commit when it sees one.
type proxy struct {
	t        testing.TB
	server   string
	listener net.Listener
	tricked  chan struct{} // has one for each trick that was played
	late     chan []byte   // gets the server's answer to a delayed request
	release  chan struct{} // lets a delayed request go on

	mu      sync.Mutex // guards the rest
	next    trick
	refused bool
	open    []net.Conn
	running sync.WaitGroup
}

func newProxy(t testing.TB, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed with the test
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{
		t: t, server: server, listener: l,
		tricked: make(chan struct{}, 100), late: make(chan []byte, 1), release: make(chan struct{}),
	}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close() // only once
		p.mu.Lock()
		for _, c := range p.open {
			_ = c.Close() // perhaps again
		}
		p.mu.Unlock()
		p.running.Wait()
	})
	return p
}

// through returns the URL of a database with the proxy in between.
func (p *proxy) through(direct string) string {
	u, err := url.Parse(direct)
	if err != nil {
		p.t.Fatal(err)
	}
	u.Host = p.listener.Addr().String()
	return u.String()
}

func (p *proxy) play(next trick) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.refused = next, false
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refused := p.refused
		p.open = append(p.open, client)
		p.mu.Unlock()
		if refused {
			_ = client.Close() // that is the refusal
			continue
		}
		server, err := net.Dial("tcp", p.server) //nolint:noctx // ended by closing
		if err != nil {
			_ = client.Close() // the server is down
			continue
		}
		p.mu.Lock()
		p.open = append(p.open, server)
		p.mu.Unlock()
		deaf := make(chan struct{}) // closed when answers go nowhere
		lost := make(chan []byte, 1)
		p.running.Go(func() { answers(client, server, deaf, lost) })
		p.running.Go(func() { p.requests(client, server, deaf, lost) })
	}
}

// commits reports whether a message binds the parameters of a commit: B, four bytes of
// length, the empty name of a portal, the name of the statement.
func commits(b []byte) bool {
	i := bytes.Index(b, []byte("\x00troupe_commit\x00"))
	return i >= 5 && b[i-5] == 'B'
}

func (p *proxy) requests(client, server net.Conn, deaf chan struct{}, lost chan []byte) {
	defer func() { _ = server.Close() }() // perhaps again
	b := make([]byte, 1<<16)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		now := pass
		if commits(b[:n]) {
			p.mu.Lock()
			now, p.next = p.next, pass
			p.refused = now == loseAndRefuse
			p.mu.Unlock()
		}
		switch now {
		case pass:
		case loseRequest:
			p.tricked <- struct{}{}
			_ = client.Close() // the answer that it gets
			return
		case delayRequest:
			close(deaf)
			p.tricked <- struct{}{}
			_ = client.Close()
			<-p.release
		case loseAnswer, loseAndRefuse:
			close(deaf)
		}
		if _, err := server.Write(b[:n]); err != nil {
			return
		}
		switch now {
		case delayRequest:
			p.late <- <-lost
			return
		case loseAnswer, loseAndRefuse:
			<-lost
			p.tricked <- struct{}{}
			_ = client.Close()
			return
		case pass, loseRequest:
		}
	}
}

// answers carries what the server says to the client, or from deaf on to lost.
func answers(client, server net.Conn, deaf chan struct{}, lost chan []byte) {
	b := make([]byte, 1<<16)
	for {
		n, err := server.Read(b)
		select {
		case <-deaf:
			lost <- bytes.Clone(b[:n]) // nothing is an answer too
			return
		default:
		}
		if err == nil {
			_, err = client.Write(b[:n])
		}
		if err != nil {
			_ = client.Close() // perhaps again
			return
		}
	}
}
