// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

func TestRawRequest(t *testing.T) {
	t.Parallel()
	b, _ := setupPages(t, authenticated)
	for name, client := range map[string]*http.Client{"HTTP/1.1": b.h1, "HTTP/2": b.h2} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, "BREW"} {
			response := b.raw(t, client, method, "/actors/default/org/a%2Fb"+rawBase+"/x%2Fy/z?q=1&q=2", strings.NewReader("the body"),
				headers("Authorization", "ada", "X-Say", "hello", "Idempotency-Key", strings.Repeat("k", 1000)))
			if got, want := readAll(t, response), method+" /x%2Fy/z?q=1&q=2 hello the body [org a/b]"; got != want || response.StatusCode != http.StatusTeapot {
				t.Errorf("%s: got %d %q, want %q", name, response.StatusCode, got, want)
			}
			if response.Header.Get("Actor-Id") == "" || response.Header.Get("X-Subject") != "ada" || response.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: the headers are %v", name, response.Header)
			}
		}
	}
	response := b.raw(t, b.h1, http.MethodGet, "/actors/default/org/a%2Fb"+rawBase, nil, headers("Authorization", "ada"))
	if got := readAll(t, response); got != "GET /?   [org a/b]" || response.Header.Get("Actor-Created") != "" {
		t.Errorf("got %q", got)
	}
}

func TestRawRefusals(t *testing.T) {
	t.Parallel()
	b, _ := setupPages(t, authenticated, actors.BeforeConnect(func(_ context.Context, attempt actors.Attempt, params *counterv1.SubscribeRequest) error {
		if attempt.Header.Get("X-Bad") != "" || attempt.Subject == "red" && params == nil {
			return actors.Errorf(connect.CodePermissionDenied, "not_today", "not today")
		}
		return nil
	}))
	for name, c := range map[string]struct {
		path   string
		header []string
		status int
		reason string
	}{
		"nobody":         {"/actors/default/a" + rawBase + "/", nil, 401, "unauthenticated"},
		"namespace":      {"/actors/blue/a" + rawBase + "/", []string{"Authorization", "red"}, 403, "namespace_denied"},
		"no namespace":   {"/actors/green/a" + rawBase + "/", []string{"Authorization", "root"}, 404, "unknown_namespace"},
		"key":            {"/actors/default/~.." + "%2f" + rawBase + "/", []string{"Authorization", "ada"}, 400, "bad_actor_key"},
		"unknown type":   {"/actors/default/a/@/no.v1.No/http/", []string{"Authorization", "ada"}, 404, "unknown_actor_type"},
		"absent":         {"/actors/default/absent" + rawBase + "/?resolve=get", []string{"Authorization", "ada"}, 404, "actor_not_found"},
		"resolve":        {"/actors/default/a" + rawBase + "/?resolve=maybe", []string{"Authorization", "ada"}, 400, "bad_actor_resolve"},
		"resolve twice":  {"/actors/default/a" + rawBase + "/?resolve=get", []string{"Authorization", "ada", "Actor-Resolve", "get"}, 400, "address_conflict"},
		"two addresses":  {"/actors/default/a" + rawBase + "/", []string{"Authorization", "ada", "Actor-Key", "b"}, 400, "address_conflict"},
		"before-connect": {"/actors/default/a" + rawBase + "/", []string{"Authorization", "ada", "X-Bad", "1"}, 403, "not_today"},
		"no params":      {"/actors/red/a" + rawBase + "/", []string{"Authorization", "red"}, 403, "not_today"},
		"params":         {"/actors/red/a" + rawBase + "/?params=", []string{"Authorization", "red"}, 418, ""},
		"bad params":     {"/actors/red/a" + rawBase + "/?params=!", []string{"Authorization", "red"}, 400, "bad_actor_params"},
		"connection":     {"/actors/default/a" + rawBase + "/", []string{"Authorization", "ada", "Actor-Conn", "x.y"}, 400, "connection_gone"},
	} {
		response := b.raw(t, b.h1, http.MethodGet, c.path, nil, headers(c.header...))
		body := readAll(t, response)
		if c.reason == "" {
			if response.StatusCode != c.status {
				t.Errorf("%s: got %d %s", name, response.StatusCode, body)
			}
			continue
		}
		if got := readFailure(t, response, []byte(body)); got.status != c.status || got.reason != c.reason {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	plain := setup(t, nil)
	response := plain.raw(t, plain.h1, http.MethodGet, "/actors/default/a"+rawBase+"/", nil, nil)
	if got := readFailure(t, response, []byte(readAll(t, response))); got.status != http.StatusNotFound || got.reason != "no_raw_handler" || !strings.Contains(got.message, "ServeHTTP") {
		t.Errorf("a type without a handler: %+v", got)
	}
}

// TestRawServerSentEvents holds that events leave as they are written, and that the
// handler hears of a client that goes away.
func TestRawServerSentEvents(t *testing.T) {
	t.Parallel()
	b, ended := setupPages(t, nil)
	for name, client := range map[string]*http.Client{"HTTP/1.1": b.h1, "HTTP/2": b.h2} {
		response := b.raw(t, client, http.MethodGet, "/actors/default/"+name[5:]+rawBase+"/sse", nil, headers("Last-Event-Id", "an id of the page's own"))
		events := bufio.NewReader(response.Body)
		for want := range 3 {
			for _, text := range []string{fmt.Sprintf("id: %d\n", want+1), "data: an id of the page's own\n", "\n"} {
				if got, err := events.ReadString('\n'); got != text || err != nil {
					t.Fatalf("%s: got %q, %v, want %q", name, got, err, text)
				}
			}
		}
		_ = response.Body.Close()
		take(t, "end", ended)
	}
}

// TestRawUpload holds that a body is the handler's as it comes.
func TestRawUpload(t *testing.T) {
	t.Parallel()
	b, _ := setupPages(t, nil)
	body, writer := io.Pipe()
	go func() {
		for sent := range 6 {
			for b.count(t, "a") < int64(sent) { // the line before has been counted already
				continue
			}
			if _, err := io.WriteString(writer, "line\n"); err != nil {
				return
			}
		}
		_ = writer.Close()
	}()
	response := b.raw(t, b.h1, http.MethodPost, "/actors/default/a"+rawBase+"/upload", body, nil)
	if got := readAll(t, response); got != "6 <nil>" {
		t.Errorf("got %q", got)
	}
}

// TestRawBodyTimeout holds that a body may last while something comes of it.
func TestRawBodyTimeout(t *testing.T) {
	t.Parallel()
	b, ended := setupPages(t, func(cfg *Config) { cfg.Limits.BodyTimeout = 50 * time.Millisecond })
	silent, hold := io.Pipe()
	defer func() { _ = hold.Close() }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/actors/default/a"+rawBase+"/upload", silent)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if response, err := b.h2.Do(request); err == nil {
			_ = response.Body.Close()
		}
	}()
	if got := take(t, "end of a silent body", ended); !strings.Contains(got, "timeout") && !strings.Contains(got, "deadline") {
		t.Errorf("got %q", got)
	}

	x := newRawExchange(t.Context(), httptest.NewRecorder(), nil, &Limits{BodyTimeout: time.Hour, WriteTimeout: time.Hour})
	defer x.release()
	x.body.ReadCloser = io.NopCloser(readerFunc(func([]byte) (int, error) {
		if !x.body.reading.armed {
			t.Error("a read has no end")
		}
		return 1, nil
	}))
	for range 2 {
		_, _ = x.body.Read(make([]byte, 1))
		if x.body.reading.armed {
			t.Error("the time between two reads counts")
		}
	}
}

func TestRawPanic(t *testing.T) {
	t.Parallel()
	b, _ := setupPages(t, nil)
	response := b.raw(t, b.h1, http.MethodGet, "/actors/default/a"+rawBase+"/panic", nil, nil)
	got := readFailure(t, response, []byte(readAll(t, response)))
	if got.status != http.StatusInternalServerError || got.reason != "internal" || strings.Contains(got.message, "secret") || !strings.Contains(b.logs.String(), got.id) {
		t.Errorf("got %+v", got)
	}
	if _, err := b.h1.Get(b.url + "/actors/default/a" + rawBase + "/late-panic"); err == nil {
		t.Error("a panic after the answer began does not cut it")
	}
	response = b.raw(t, b.h1, http.MethodGet, "/actors/default/a"+rawBase+"/", nil, nil)
	if response.StatusCode != http.StatusTeapot {
		t.Errorf("the actor after a panic: %d", response.StatusCode)
	}
}

// TestRawLimits holds that raw requests count as subscriptions, of the node and of
// their principal.
func TestRawLimits(t *testing.T) {
	t.Parallel()
	for reason, limits := range map[string]Limits{
		"too_many_subscriptions":              {Subscriptions: 1},
		"too_many_subscriptions_of_principal": {SubscriptionsPerPrincipal: 1},
		"rate_limited":                        {RatePerIPAndActor: 12},
	} {
		b, ended := setupPages(t, func(cfg *Config) { authenticated(cfg); cfg.Limits = limits })
		first := b.raw(t, b.h1, http.MethodGet, "/actors/default/a"+rawBase+"/stay", nil, headers("Authorization", "ada"))
		second := b.raw(t, b.h1, http.MethodGet, "/actors/default/a"+rawBase+"/", nil, headers("Authorization", "ada"))
		if got := readFailure(t, second, []byte(readAll(t, second))); got.reason != reason || got.status != http.StatusTooManyRequests {
			t.Errorf("got %+v, want %s", got, reason)
		}
		_ = first.Body.Close()
		take(t, "end", ended)
	}
}

// TestRawStuckPeer holds that a peer that takes nothing is cut, also on a connection
// that the handler took over.
func TestRawStuckPeer(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	b := setup(t, func(cfg *Config) {
		cfg.Limits.WriteTimeout = 50 * time.Millisecond
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *flood { return &flood{ended: ended} })
	})
	for _, path := range []string{"/write", "/hijack"} {
		conn := b.dial(t)
		if _, err := fmt.Fprintf(conn, "GET /actors/default/a%s%s HTTP/1.1\r\nHost: localhost\r\n\r\n", rawBase, path); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: no error", path)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: a stuck peer is not cut", path)
		}
	}
}

// flood is a counter that writes without end.
type flood struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]

	ended chan error
}

func (f *flood) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var out io.Writer = w
	if r.URL.Path == "/hijack" {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			f.ended <- errors.New("no connection")
			return
		}
		out = conn
	}
	for {
		if _, err := out.Write(make([]byte, 1<<20)); err != nil {
			f.ended <- err
			return
		}
	}
}
