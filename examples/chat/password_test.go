// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/actorstest"
	troupe "github.com/troupe-dev/troupe/clients/go"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	"github.com/troupe-dev/troupe/server"
)

const testPassword = "correct horse battery"

func passwordFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func basic(user, password string) http.Header {
	r := &http.Request{Header: make(http.Header)}
	r.SetBasicAuth(user, password)
	return r.Header
}

// TestPassword holds that neither the actors nor the page are there for who does not
// know the password.
func TestPassword(t *testing.T) {
	t.Parallel()
	secret, err := readPasswords(passwordFile(t, testPassword+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	registry := actors.NewRegistry()
	register(registry)
	srv := actorstest.New(t, registry, actorstest.Configure(func(cfg *server.Config) { cfg.Authenticate = secret.authenticate }))
	page := secret.guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for name, c := range map[string]struct {
		header http.Header
		in     bool
	}{
		"the password":    {basic("ada", testPassword), true},
		"no user":         {basic("", testPassword), true},
		"another one":     {basic("ada", testPassword+"!"), false},
		"a part of it":    {basic("ada", testPassword[:12]), false},
		"none":            {basic("ada", ""), false},
		"nothing":         {http.Header{}, false},
		"another scheme":  {http.Header{"Authorization": {"Bearer " + testPassword}}, false},
		"the user has it": {basic(testPassword, ""), false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header = c.header
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		if in := w.Code == http.StatusOK; in != c.in || !in && w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: the page answers %d, %v", name, w.Code, w.Header())
		}
		room := chatv1connect.NewChatRoomClient(srv.Dial(troupe.WithHeader("authorization", c.header.Get("Authorization"))).GetOrCreate("acme", "general"))
		_, err := room.History(t.Context(), new(chatv1.HistoryRequest))
		if in := err == nil; in != c.in || !in && connect.CodeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("%s: the room answers %v", name, err)
		}
	}
}

func TestPasswordFile(t *testing.T) {
	t.Parallel()
	if open, err := options(""); err != nil || len(open) != 1 {
		t.Errorf("without a file there are %d options (%v), want the page alone", len(open), err)
	}
	if closed, err := options(passwordFile(t, testPassword)); err != nil || len(closed) != 2 {
		t.Errorf("with a file there are %d options (%v), want the page and the hook", len(closed), err)
	}
	for name, file := range map[string]string{
		"the same twice": passwordFile(t, testPassword+"\n"+testPassword), "three lines": passwordFile(t, testPassword+"\n"+testPassword+"2\n"+testPassword+"3"),
		"a short second line": passwordFile(t, testPassword+"\nshort"), "absent": filepath.Join(t.TempDir(), "none"), "empty": passwordFile(t, ""), "short": passwordFile(t, "   short     \n"),
	} {
		if _, err := options(file); err == nil {
			t.Errorf("%s: the file is taken", name)
		}
	}
}

// TestTheOperatorsPassword holds that the second line of the file gives the server role,
// and the first one does not.
func TestTheOperatorsPassword(t *testing.T) {
	t.Parallel()
	const operators = "a password of the operator"
	secret, err := readPasswords(passwordFile(t, testPassword+"\n"+operators+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	for given, role := range map[string]server.Role{testPassword: server.RoleUser, operators: server.RoleServer} {
		who, err := secret.authenticate(t.Context(), basic("ada", given))
		if err != nil || who.Subject != "ada" || who.Role != role || (len(who.Namespaces) > 0) != (role == server.RoleServer) {
			t.Errorf("%q is %+v, %v, want the role %d", given, who, err, role)
		}
	}
}
