// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actorstest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// network is where the servers of one test listen and its clients dial. At most
// one server listens at a time.
type network struct {
	mu       sync.Mutex
	listener *listener // guarded by mu; nil while nobody listens
}

var errRefused = errors.New("actorstest: connection refused: the server is stopped")

// listen makes a new listener the one that is dialed.
func (n *network) listen() *listener {
	l := &listener{incoming: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener = l
	return l
}

// leave takes a listener off the network if it is still there.
func (n *network) leave(l *listener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener == l {
		n.listener = nil
	}
}

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listener
	n.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	return l.dial(ctx)
}

// listener is a [net.Listener] without a socket.
type listener struct {
	incoming chan net.Conn
	close    sync.Once
	closed   chan struct{}

	mu    sync.Mutex
	conns []*conn // guarded by mu; the servers' ends
	dead  bool    // guarded by mu
}

var _ net.Listener = (*listener)(nil)

func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	client, server := newConns()
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		return nil, errRefused
	}
	l.conns = append(l.conns, server)
	l.mu.Unlock()
	select {
	case l.incoming <- server:
		return client, nil
	case <-l.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *listener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return nil
}

// Addr implements [net.Listener].
func (l *listener) Addr() net.Addr { return address }

// cut ends every connection, as the end of a process does.
func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for _, c := range l.conns {
		c.read.cut()
		c.write.cut()
	}
}

// address is a loopback address, so that callers have the server role.
var address = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}

// conn is one end of a connection.
type conn struct{ read, write *pipe }

var _ net.Conn = (*conn)(nil)

func newConns() (client, server *conn) {
	there, back := newPipe(), newPipe()
	return &conn{read: back, write: there}, &conn{read: there, write: back}
}

func (c *conn) Read(p []byte) (int, error)  { return c.read.get(p) }
func (c *conn) Write(p []byte) (int, error) { return c.write.put(p) }

// Close implements [net.Conn]. The peer can read what was written before.
func (c *conn) Close() error {
	c.write.finish()
	c.read.cut()
	return nil
}

func (*conn) LocalAddr() net.Addr  { return address }
func (*conn) RemoteAddr() net.Addr { return address }

// SetDeadline implements [net.Conn].
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (c *conn) SetReadDeadline(t time.Time) error { return c.read.setDeadline(&c.read.reader, t) }

// SetWriteDeadline implements [net.Conn].
func (c *conn) SetWriteDeadline(t time.Time) error { return c.write.setDeadline(&c.write.writer, t) }

// pipeBytes is what a pipe holds for a peer that does not read, as the buffers of
// sockets do.
const pipeBytes = 256 << 10

// pipe is one direction of a connection.
type pipe struct {
	mu             sync.Mutex
	changed        *sync.Cond
	data           []byte // guarded by mu
	finished       bool   // guarded by mu; nothing more is written
	broken         bool   // guarded by mu; nothing more is carried
	reader, writer deadline
}

// deadline is when one end of a pipe gives up. The pipe's mu guards it.
type deadline struct {
	timer *time.Timer
	over  bool
}

func newPipe() *pipe {
	p := new(pipe)
	p.changed = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) get(dst []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.broken:
			return 0, net.ErrClosed
		case p.reader.over:
			return 0, os.ErrDeadlineExceeded
		case len(p.data) > 0:
			n := copy(dst, p.data)
			p.data = p.data[n:]
			p.changed.Broadcast()
			return n, nil
		case p.finished:
			return 0, io.EOF
		}
		p.changed.Wait()
	}
}

func (p *pipe) put(src []byte) (written int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.broken, p.finished:
			return written, net.ErrClosed
		case p.writer.over:
			return written, os.ErrDeadlineExceeded
		}
		n := min(len(src), pipeBytes-len(p.data))
		p.data = append(p.data, src[:n]...)
		src, written = src[n:], written+n
		p.changed.Broadcast()
		if len(src) == 0 {
			return written, nil
		}
		p.changed.Wait()
	}
}

// finish says that nothing more is written.
func (p *pipe) finish() { p.end(&p.finished) }

// cut loses what is on its way.
func (p *pipe) cut() { p.end(&p.broken) }

func (p *pipe) end(how *bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*how = true
	p.changed.Broadcast()
}

func (p *pipe) setDeadline(d *deadline, t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timer, d.over = nil, false
	if wait := time.Until(t); !t.IsZero() && wait <= 0 {
		d.over = true
	} else if !t.IsZero() {
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if d.timer == timer {
				d.over = true
				p.changed.Broadcast()
			}
		})
		d.timer = timer
	}
	p.changed.Broadcast()
	return nil
}
