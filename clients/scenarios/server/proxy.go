// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// proxy is a network that does what it is told: clients connect to it, and it passes
// their bytes on to a server that may change.
type proxy struct {
	listener net.Listener
	accepted sync.WaitGroup

	mu      sync.Mutex
	backend string             // guarded by mu; where the server listens
	pipes   map[*pipe]struct{} // guarded by mu
	refuse  bool               // guarded by mu; new connections end at once
	flowing chan struct{}      // guarded by mu; closed unless nothing may pass
	lose    bool               // guarded by mu; the next answer is lost
	delay   time.Duration      // guarded by mu; that each piece waits
}

// pipe is one connection of a client and the one to the server that belongs to it.
type pipe struct {
	client, server net.Conn
	ended          chan struct{}
	end            func()

	mu    sync.Mutex
	asked bool // guarded by mu; the client has sent something since the last answer
	half  bool // guarded by mu; nothing more goes to the client
}

// buffer bounds what the network holds, in each place, for a client that is stalled.
const buffer = 64 << 10

func newProxy() (*proxy, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, pipes: make(map[*pipe]struct{}), flowing: make(chan struct{})}
	close(p.flowing)
	p.accepted.Go(p.accept)
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) setBackend(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backend = address
}

// act does what a network step says. It reports whether it knows the act.
func (p *proxy) act(act string, amount time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch act {
	case "cut":
		p.cutLocked()
	case "down":
		p.refuse = true
		p.cutLocked()
	case "up":
		p.refuse = false
		p.delay = 0
		select {
		case <-p.flowing:
		default:
			close(p.flowing)
		}
	case "stall":
		select {
		case <-p.flowing:
			p.flowing = make(chan struct{})
		default:
		}
	case "half":
		for pipe := range p.pipes {
			pipe.halve()
		}
	case "lose":
		p.lose = true
		for pipe := range p.pipes {
			pipe.forget()
		}
	case "delay":
		p.delay = amount
	default:
		return false
	}
	return true
}

func (p *proxy) cutLocked() {
	for pipe := range p.pipes {
		pipe.end()
	}
}

// close ends everything and waits until it has.
func (p *proxy) close() {
	_ = p.listener.Close() // nothing is left to do about it
	p.act("up", 0)
	p.act("cut", 0)
	p.accepted.Wait()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		p.accepted.Go(func() { p.serve(client) })
	}
}

func (p *proxy) serve(client net.Conn) {
	p.mu.Lock()
	backend, refuse := p.backend, p.refuse
	p.mu.Unlock()
	if refuse {
		_ = client.Close()
		return
	}
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", backend)
	if err != nil {
		_ = client.Close()
		return
	}
	if tcp, ok := server.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(buffer) // else a stall fills more
	}
	pipe := newPipe(client, server)
	p.mu.Lock()
	if p.refuse {
		pipe.end()
	}
	p.pipes[pipe] = struct{}{}
	p.mu.Unlock()
	p.accepted.Go(func() { p.pass(pipe, pipe.client, pipe.server) })
	p.pass(pipe, pipe.server, pipe.client)
	p.mu.Lock()
	delete(p.pipes, pipe)
	p.mu.Unlock()
}

// pass copies one direction until either side ends or the network cuts it.
func (p *proxy) pass(pipe *pipe, from, to net.Conn) {
	defer pipe.end()
	piece := make([]byte, 16<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 && !p.piece(pipe, to, piece[:n]) {
			return
		}
		if err != nil {
			return
		}
	}
}

// piece passes what was read on, as the network allows. It reports whether the pipe
// goes on.
func (p *proxy) piece(pipe *pipe, to net.Conn, data []byte) bool {
	p.mu.Lock()
	flowing, delay := p.flowing, p.delay
	p.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-pipe.ended:
			return false
		}
	}
	select {
	case <-flowing:
	case <-pipe.ended:
		return false
	}
	switch {
	case to == pipe.server:
		pipe.ask()
	case p.loses(pipe):
		return false
	case pipe.halved():
		return true // it falls on the floor
	}
	_, err := to.Write(data)
	return err == nil
}

// loses reports whether an answer is the one to lose.
func (p *proxy) loses(pipe *pipe) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.lose || !pipe.wasAsked() {
		return false
	}
	p.lose = false
	return true
}

func newPipe(client, server net.Conn) *pipe {
	p := &pipe{client: client, server: server, ended: make(chan struct{})}
	p.end = sync.OnceFunc(func() {
		close(p.ended)
		_ = client.Close() // either may be gone
		_ = server.Close()
	})
	return p
}

// halve closes the direction to the client.
func (p *pipe) halve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.half = true
	if tcp, ok := p.client.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // the client may be gone
	}
}

func (p *pipe) halved() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.half
}

func (p *pipe) ask() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = true
}

func (p *pipe) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = false
}

func (p *pipe) wasAsked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}
