// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestHealthWatchesAreBounded has somebody unknown watch the server's health more often
// than it lets them: subscriptions must go on.
func TestHealthWatchesAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) {
		authenticated(cfg)
		cfg.Limits.Subscriptions = 2 * probeShare
	})
	watch := func() *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/grpc.health.v1.Health/Watch", strings.NewReader(string(envelope([]byte("{}")))))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/connect+json")
		response, err := b.h1.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
		return response
	}
	first := make([]byte, 5)
	for range 2 {
		if _, err := watch().Body.Read(first); err != nil || first[0] != 0 {
			t.Fatalf("a watch: % x, %v", first, err)
		}
	}
	if _, err := watch().Body.Read(first); err != nil || first[0]&2 == 0 {
		t.Errorf("one more: % x, %v, want the end of the stream", first, err)
	}
}

// TestHealthChecksAreBounded has somebody unknown ask for the server's health, at length,
// more often than it lets them: calls must go on.
func TestHealthChecksAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) {
		authenticated(cfg)
		cfg.Limits.Calls = 2 * probeShare
	})
	for range 2 {
		conn := b.dial(t)
		if _, err := io.WriteString(conn, "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: localhost\r\n"+
			"Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("a check without its body: %q, %v", line, err)
		}
	}
	if got := b.post(t, "/grpc.health.v1.Health/Check", "application/json", nil, []byte("{}")); got.reason != "too_many_calls" || !got.retry {
		t.Errorf("one more: %+v", got)
	}
	if got := increment(t, b, "Authorization", "ada"); got.status != http.StatusOK {
		t.Errorf("a call of somebody who is known: %+v", got)
	}
}
