// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
)

// bufferedBytes is what net/http takes of a response without waiting for the peer;
// chunkBytes is what a peer must take in one write timeout of a larger one.
const (
	bufferedBytes = 4 << 10
	chunkBytes    = 64 << 10
)

// guard stands between Connect and net/http for one request: it is the request's
// body, which must arrive in time, and its response, which must be taken in time.
type guard struct {
	http.ResponseWriter
	watchdog

	pool         *sync.Pool // where it comes from
	request      *http.Request
	body         io.ReadCloser // the request's own
	writeTimeout time.Duration
	errors       *connecthttp.ErrorWriter
	detach       func(*connect.Error) // answerEarly
	detached     bool                 // answered while the handler still runs
	reading      bool                 // the body's time runs
	writing      bool                 // the response's time runs
	buffered     int                  // bytes of the response that have been written
}

var (
	_ io.ReadCloser = (*guard)(nil)
	_ http.Flusher  = (*guard)(nil)
)

// newGuards returns a pool, because every call needs a guard. It belongs to one
// server: a timer of one testing/synctest bubble must not be used in another.
func newGuards() *sync.Pool {
	pool := new(sync.Pool)
	pool.New = func() any {
		g := &guard{pool: pool}
		g.bite = g.cut
		g.detach = g.answerEarly
		return g
	}
	return pool
}

// newGuard puts a guard in place of r's body and starts the body's time.
// [guard.release] must follow when the handler has returned.
func newGuard(guards *sync.Pool, w http.ResponseWriter, r *http.Request, limits *Limits, errors *connecthttp.ErrorWriter) *guard {
	g := guards.Get().(*guard) //nolint:forcetypeassert // the pool's only type
	g.ResponseWriter, g.request, g.body, g.writeTimeout, g.errors = w, r, r.Body, limits.WriteTimeout, errors
	if r.ContentLength != 0 && r.Body != http.NoBody {
		g.reading = true
		r.Body = g
		g.arm(limits.BodyTimeout)
	}
	return g
}

// cut makes the read or the write that takes too long fail.
func (g *guard) cut() {
	control := http.NewResponseController(g.ResponseWriter)
	if g.writing {
		_ = control.SetWriteDeadline(longAgo)
	} else {
		_ = control.SetReadDeadline(longAgo)
	}
}

// stop ends the time that runs. A timer that has fired already must not meet
// another request.
func (g *guard) stop() { g.rest() }

// Read implements [io.Reader]. The end of the body ends its time: what follows is
// the actor's, not the sender's.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.body.Read(p)
	if err != nil && g.reading {
		g.reading = false
		g.stop()
	}
	return n, err
}

// Close implements [io.Closer].
func (g *guard) Close() error { return g.body.Close() }

// answer gives the request its own body back before net/http, on writing the
// headers, looks at what is left of it.
func (g *guard) answer() { g.request.Body = g.body }

// WriteHeader implements [http.ResponseWriter].
func (g *guard) WriteHeader(status int) {
	if g.detached {
		return
	}
	g.answer()
	g.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (g *guard) Write(p []byte) (written int, err error) {
	if g.detached {
		return len(p), nil
	}
	g.answer()
	if g.buffered += len(p); g.buffered <= bufferedBytes {
		return g.ResponseWriter.Write(p)
	}
	if g.reading { // the answer leaves before the body has come
		g.reading = false
		g.stop()
	}
	for err == nil && written < len(p) {
		var n int
		g.writing = true
		g.arm(g.writeTimeout)
		n, err = g.ResponseWriter.Write(p[written:min(len(p), written+chunkBytes)])
		g.stop()
		g.writing = false
		written += n
	}
	return written, err
}

// Flush implements [http.Flusher].
func (g *guard) Flush() {
	if g.detached {
		return
	}
	g.answer()
	if flusher, ok := g.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}

// Unwrap is for [http.ResponseController].
func (g *guard) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// release ends the guard.
func (g *guard) release() {
	if g.reading {
		_ = g.Close() // what is left of the body is waited for here, not beyond its time
		g.reading = false
		g.stop()
	}
	g.answer()
	g.ResponseWriter, g.request, g.body, g.detached, g.buffered = nil, nil, nil, false, 0
	g.pool.Put(g)
}

// answerEarly answers the request with an error while its handler is stuck in a
// turn, which is where [actors.Call.Detach] calls it from: nothing else uses the
// guard meanwhile. What the handler writes later is dropped. The length is given,
// so that the answer is complete although the handler has not returned, and the
// connection is not used again.
func (g *guard) answerEarly(err *connect.Error) {
	g.answer()
	header := g.Header()
	whole := &wholeAnswer{header: header, status: http.StatusOK}
	_ = g.errors.Write(whole, g.request, err) // into memory
	header.Set("Content-Length", strconv.Itoa(whole.body.Len()))
	header.Set("Connection", "close")
	g.ResponseWriter.WriteHeader(whole.status)
	_, _ = g.ResponseWriter.Write(whole.body.Bytes()) // the caller may be gone
	_ = http.NewResponseController(g.ResponseWriter).Flush()
	g.detached = true
}

// wholeAnswer collects an answer.
type wholeAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (a *wholeAnswer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *wholeAnswer) WriteHeader(status int) { a.status = status }

// Write implements [http.ResponseWriter].
func (a *wholeAnswer) Write(p []byte) (int, error) { return a.body.Write(p) }

// seat is a connection's place for the guard of its request. It is in the context
// of every request of the connection, so that a call finds its guard without a
// context of its own. On HTTP/2, where requests share a connection, it stays empty.
type seat struct{ guard *guard }

type seatKey struct{}

func withSeat(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, seatKey{}, new(seat))
}
