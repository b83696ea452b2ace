// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// lingerTime is how long a handler whose context has ended can say goodbye before
// its connection is cut.
const lingerTime = time.Second

// rawExchange is the response of one raw request, and its body and connection. Each
// read must bring something in time and each write must be taken in time; all of
// it may last. The actor's handler uses it as it would use net/http's own.
type rawExchange struct {
	http.ResponseWriter

	body    *rawBody
	limit   time.Duration // of a write
	writing watchdog
	unwatch func() bool

	mu     sync.Mutex
	conn   *rawConn    // guarded by mu; the connection once the handler took it over
	answer bool        // guarded by mu; the response has begun
	done   bool        // guarded by mu; the handler has returned
	linger *time.Timer // guarded by mu; cuts the connection
}

var (
	_ http.Flusher  = (*rawExchange)(nil)
	_ http.Hijacker = (*rawExchange)(nil)
)

// newRawExchange begins an exchange that is cut soon after ctx has ended. Release
// must follow.
func newRawExchange(ctx context.Context, w http.ResponseWriter, body io.ReadCloser, limits *Limits) *rawExchange {
	x := &rawExchange{ResponseWriter: w, limit: limits.WriteTimeout}
	control := http.NewResponseController(w)
	x.writing.bite = func() {
		_ = control.SetReadDeadline(longAgo) // net/http waits for the rest of the body before it writes
		_ = control.SetWriteDeadline(longAgo)
	}
	x.body = &rawBody{ReadCloser: body, limit: limits.BodyTimeout}
	x.body.reading.bite = func() { _ = control.SetReadDeadline(longAgo) }
	x.unwatch = context.AfterFunc(ctx, x.end)
	return x
}

// end has the connection cut after a while.
func (x *rawExchange) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.done {
		x.linger = time.AfterFunc(lingerTime, x.cut)
	}
}

// cut makes whatever the handler does with its peer fail.
func (x *rawExchange) cut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.done:
	case x.conn != nil:
		_ = x.conn.Close()
	default:
		control := http.NewResponseController(x.ResponseWriter)
		_ = control.SetReadDeadline(longAgo)
		_ = control.SetWriteDeadline(longAgo)
	}
}

// release ends the exchange, and the connection if the handler took it over.
func (x *rawExchange) release() {
	x.unwatch()
	x.body.reading.disarm()
	x.writing.disarm()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done = true
	if x.linger != nil {
		x.linger.Stop()
	}
	if x.conn != nil {
		_ = x.conn.Close()
	}
}

// begun reports whether the response has begun.
func (x *rawExchange) begun() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.answer
}

func (x *rawExchange) begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answer = true
}

// timed runs one write, in time.
func (x *rawExchange) timed(write func() error) error {
	x.writing.arm(x.limit)
	err := write()
	x.writing.rest()
	return err
}

// WriteHeader implements [http.ResponseWriter].
func (x *rawExchange) WriteHeader(status int) {
	if status >= http.StatusOK {
		x.begin()
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (x *rawExchange) Write(p []byte) (written int, err error) {
	x.begin()
	for err == nil {
		var n int
		err = x.timed(func() (err error) {
			n, err = x.ResponseWriter.Write(p[written:min(len(p), written+chunkBytes)])
			return err
		})
		if written += n; written >= len(p) {
			break
		}
	}
	return written, err
}

// Flush implements [http.Flusher].
func (x *rawExchange) Flush() { _ = x.FlushError() }

// FlushError is for [http.ResponseController].
func (x *rawExchange) FlushError() error {
	x.begin()
	return x.timed(http.NewResponseController(x.ResponseWriter).Flush)
}

// Unwrap is for [http.ResponseController].
func (x *rawExchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// Hijack implements [http.Hijacker].
func (x *rawExchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	limited := &rawConn{Conn: conn, limit: x.limit}
	x.mu.Lock()
	x.answer, x.conn = true, limited
	x.mu.Unlock()
	early, _ := buffered.Peek(buffered.Reader.Buffered()) // they are there
	limited.early = bytes.Clone(early)
	return limited, bufio.NewReadWriter(bufio.NewReader(limited), bufio.NewWriter(limited)), nil
}

// rawBody is the body of a raw request.
type rawBody struct {
	io.ReadCloser
	limit   time.Duration
	reading watchdog
}

// Read implements [io.Reader].
func (b *rawBody) Read(p []byte) (int, error) {
	b.reading.arm(b.limit)
	n, err := b.ReadCloser.Read(p)
	b.reading.rest()
	return n, err
}

// rawConn is a connection that a handler took over. What it writes must be taken in
// time, unless it sets a time of its own.
type rawConn struct {
	net.Conn
	early []byte // what net/http has read already; it comes first
	limit time.Duration
	own   atomic.Bool // the handler sets its own deadlines for writes
}

// Read implements [net.Conn].
func (c *rawConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Write implements [net.Conn].
func (c *rawConn) Write(p []byte) (int, error) {
	if !c.own.Load() {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// SetWriteDeadline implements [net.Conn].
func (c *rawConn) SetWriteDeadline(t time.Time) error {
	c.own.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements [net.Conn].
func (c *rawConn) SetDeadline(t time.Time) error {
	c.own.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}
