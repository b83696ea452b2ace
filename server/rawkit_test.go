// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/coder/websocket"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

const rawBase = "/@/counter.v1.Counter/http"

// pages is a counter that serves raw requests.
type pages struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]

	ended chan string // what ended a long handler
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/panic":
		panic("the secret of the page")
	case "/late-panic":
		_, _ = io.WriteString(w, "begun")
		panic("the secret of the page")
	case "/sse":
		p.serveEvents(w, r)
	case "/ws":
		p.serveSocket(w, r)
	case "/deaf":
		p.serveDeaf(w, r)
	case "/stay":
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		p.ended <- connect.CodeOf(context.Cause(r.Context())).String()
	case "/count":
		_ = p.ReadTurn(r.Context(), func(context.Context) error {
			_, err := fmt.Fprint(w, p.State().GetCount())
			return err
		})
	case "/upload":
		p.serveUpload(w, r)
	default:
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Subject", actors.SubjectOf(r.Context()))
		w.WriteHeader(http.StatusTeapot)
		//nolint:gosec // no browser reads it
		_, _ = fmt.Fprintf(w, "%s %s?%s %s %s %v", r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Get("X-Say"), body, p.Key())
	}
}

// add changes the state, in a turn.
func (p *pages) add(ctx context.Context, amount int64) (count int64, err error) {
	err = p.Turn(ctx, func(context.Context) error {
		p.State().Count += amount
		count = p.State().GetCount()
		return nil
	})
	return count, err
}

func (p *pages) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for range 3 {
		count, err := p.add(r.Context(), 1)
		if err != nil {
			return
		}
		//nolint:gosec // no browser reads it
		_, _ = fmt.Fprintf(w, "id: %d\ndata: %s\n\n", count, r.Header.Get("Last-Event-ID"))
		w.(http.Flusher).Flush()
	}
	<-r.Context().Done()
	p.ended <- "sse"
}

func (p *pages) serveSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the server has checked the origin
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	for {
		kind, data, err := conn.Read(r.Context())
		if err != nil {
			p.ended <- connect.CodeOf(context.Cause(r.Context())).String()
			return
		}
		count, err := p.add(r.Context(), int64(len(data)))
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, fmt.Appendf(nil, "%s %d", data, count)); err != nil {
			return
		}
	}
}

// serveDeaf reads until it cannot, whatever its context says.
func (p *pages) serveDeaf(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Method == http.MethodGet {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		body = buffered
	} else {
		_ = http.NewResponseController(w).Flush()
	}
	_, _ = io.Copy(io.Discard, body)
	p.ended <- "deaf"
}

// serveUpload counts what comes while it comes.
func (p *pages) serveUpload(w http.ResponseWriter, r *http.Request) {
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if _, err := p.add(r.Context(), 1); err != nil {
			return
		}
	}
	if err := lines.Err(); err != nil {
		p.ended <- err.Error()
		return
	}
	count, err := p.add(r.Context(), 0)
	_, _ = fmt.Fprint(w, count, err)
}

// setupPages starts a server of pages.
func setupPages(t *testing.T, change func(*Config), options ...actors.Option) (b *bundle, ended chan string) {
	t.Helper()
	ended = make(chan string, 8)
	return setup(t, func(cfg *Config) {
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *pages { return &pages{ended: ended} }, options...)
		if change != nil {
			change(cfg)
		}
	}), ended
}

// raw makes a raw request. The caller closes the body.
func (b *bundle) raw(t *testing.T, client *http.Client, method, path string, body io.Reader, header http.Header) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(request.Header, header)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func readAll(t *testing.T, response *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func take[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s within 10 s", what)
		panic("unreachable")
	}
}

// count returns a counter's count, 0 if there is none.
func (b *bundle) count(t *testing.T, key string) int64 {
	t.Helper()
	_, text := do(t, b.h1, b.url+"/actors/default/"+key+rawBase+"/count", "", nil)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Error(err)
	}
	return n
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// wait lets time pass in which something must not happen.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
