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
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/troupe-dev/troupe/actors"
)

// socket opens a WebSocket to the counter a.
func (b *bundle) socket(t *testing.T, header http.Header) (*websocket.Conn, error) {
	t.Helper()
	conn, response, err := websocket.Dial(t.Context(), b.url+"/actors/default/a"+rawBase+"/ws", &websocket.DialOptions{HTTPClient: b.h1, HTTPHeader: header})
	if err != nil {
		if response != nil {
			_ = response.Body.Close()
		}
		return nil, err
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, nil
}

func say(t *testing.T, conn *websocket.Conn, text, want string) {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := conn.Read(t.Context()); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// TestRawWebSocket holds that a socket outlives the times of a request, keeps its
// actor awake and that what it says is in the actor's state.
func TestRawWebSocket(t *testing.T) {
	t.Parallel()
	b, ended := setupPages(t, func(cfg *Config) {
		cfg.Limits.BodyTimeout, cfg.Limits.HeaderTimeout, cfg.Limits.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	}, actors.SleepAfter(time.Millisecond), actors.OnSleep(func(*pages, context.Context) error { return nil }))
	dial := func() (conn *websocket.Conn) {
		t.Helper()
		eventually(t, "a request comes within 50 ms", func() bool { // a busy machine can take longer
			var err error
			conn, err = b.socket(t, nil)
			return err == nil
		})
		return conn
	}
	conn := dial()
	say(t, conn, "abc", "abc 3")
	wait(t, 1100*time.Millisecond)
	say(t, conn, strings.Repeat("d", 20_000), strings.Repeat("d", 20_000)+" 20003")
	if err := conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Error(err)
	}
	take(t, "end", ended)
	say(t, dial(), "e", "e 20004")
}

// TestRawWebSocketOrigin holds that a page of another origin cannot open a socket,
// nor send a writing request, until its origin is named.
func TestRawWebSocketOrigin(t *testing.T) {
	t.Parallel()
	b, _ := setupPages(t, func(cfg *Config) { cfg.CORSOrigins = []string{"https://app.example.com"} })
	if _, err := b.socket(t, headers("Origin", "https://evil.example.com")); err == nil {
		t.Error("a foreign page opened a socket")
	}
	for _, origin := range []string{b.url, "https://app.example.com"} {
		if _, err := b.socket(t, headers("Origin", origin)); err != nil {
			t.Errorf("a page of %s: %v", origin, err)
		}
	}
	post := func(header ...string) int {
		return b.raw(t, b.h1, http.MethodPost, "/actors/default/a"+rawBase+"/", strings.NewReader("x"), headers(header...)).StatusCode
	}
	for name, c := range map[string]struct {
		header []string
		want   int
	}{
		"no browser": {nil, 418},
		"same":       {[]string{"Origin", b.url, "Sec-Fetch-Site", "same-origin"}, 418},
		"listed":     {[]string{"Origin", "https://app.example.com", "Sec-Fetch-Site", "cross-site"}, 418},
		"foreign":    {[]string{"Origin", "https://evil.example.com", "Sec-Fetch-Site", "cross-site"}, 403},
	} {
		if got := post(c.header...); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	preflight := b.raw(t, b.h1, http.MethodOptions, "/actors/default/a"+rawBase+"/", nil,
		headers("Origin", "https://app.example.com", "Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "x-own"))
	if preflight.Header.Get("Access-Control-Allow-Methods") != "PATCH" || preflight.Header.Get("Access-Control-Allow-Headers") != "x-own" {
		t.Errorf("a preflight: %v", preflight.Header)
	}
}

// TestRawEarlyBytes holds that what a peer sends before the handler takes its
// connection over is read first, by whichever reader.
func TestRawEarlyBytes(t *testing.T) {
	t.Parallel()
	server, client := net.Pipe()
	defer func() { _ = client.Close() }()
	go func() { _, _ = io.WriteString(client, "late") }()
	w := hijackable{server, bufio.NewReader(strings.NewReader("early"))}
	if _, err := w.reader.Peek(5); err != nil {
		t.Fatal(err)
	}
	x := newRawExchange(t.Context(), w, nil, &Limits{BodyTimeout: time.Hour, WriteTimeout: time.Hour})
	defer x.release()
	conn, buffered, err := x.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 9)
	if _, err := io.ReadFull(buffered, got[:2]); err != nil {
		t.Fatal(err)
	}
	rest, _ := buffered.Peek(buffered.Reader.Buffered())
	if _, err := io.ReadFull(io.MultiReader(bytes.NewReader(rest), conn), got[2:]); err != nil || string(got) != "earlylate" {
		t.Errorf("got %q, %v", got, err)
	}
}

// hijackable is a response whose connection is a given one.
type hijackable struct {
	net.Conn
	reader *bufio.Reader
}

func (h hijackable) Header() http.Header { return make(http.Header) }
func (h hijackable) WriteHeader(int)     {}
func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.Conn, bufio.NewReadWriter(h.reader, bufio.NewWriter(h.Conn)), nil
}
