// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
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
