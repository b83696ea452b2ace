// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// TestRawEndsWithTheActor holds that a destroyed actor's sockets and requests end.
func TestRawEndsWithTheActor(t *testing.T) {
	t.Parallel()
	b, ended := setupPages(t, nil)
	conn, err := b.socket(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	say(t, conn, "abc", "abc 3")
	b.raw(t, b.h1, http.MethodGet, "/actors/default/a"+rawBase+"/stay", nil, nil)
	if _, err := b.lifecycle().Destroy(t.Context(), &troupev1.DestroyRequest{Address: address("a")}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := take(t, "end", ended); got != "aborted" {
			t.Errorf("the cause is %s", got)
		}
	}
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("the socket of a destroyed actor goes on")
	}
	again, err := b.socket(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	say(t, again, "e", "e 1")
}

// TestRawDeafHandler holds that a handler that does not look at its context is cut
// from its peer.
func TestRawDeafHandler(t *testing.T) {
	t.Parallel()
	b, ended := setupPages(t, nil)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		body, hold := io.Pipe()
		t.Cleanup(func() { _ = hold.Close() })
		client, reader := b.h1, io.Reader(nil)
		if method == http.MethodPost {
			client, reader = b.h2, body
		}
		b.raw(t, client, method, "/actors/default/a"+rawBase+"/deaf", reader, nil)
	}
	if _, err := b.lifecycle().Destroy(t.Context(), &troupev1.DestroyRequest{Address: address("a")}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		take(t, "end of a deaf handler", ended)
	}
}

func TestRawEndsAtItsTime(t *testing.T) {
	t.Parallel()
	b, ended := setupPages(t, nil, actors.StreamTimeout(10*time.Millisecond))
	b.raw(t, b.h1, http.MethodGet, "/actors/default/a"+rawBase+"/stay", nil, nil)
	if got := take(t, "end", ended); got != "deadline_exceeded" {
		t.Errorf("the cause is %s", got)
	}
}

// TestRawEndsWithTheServer holds that a stop ends sockets and requests within its
// grace.
func TestRawEndsWithTheServer(t *testing.T) {
	t.Parallel()
	b, ended := setupPages(t, nil)
	conn, err := b.socket(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	say(t, conn, "abc", "abc 3")
	b.raw(t, b.h1, http.MethodGet, "/actors/default/a"+rawBase+"/stay", nil, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := b.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	for range 2 {
		if got := take(t, "end", ended); got != "unavailable" {
			t.Errorf("the cause is %s", got)
		}
	}
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("the socket goes on")
	}
}
