// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// principals are who the hook of these tests knows, by their authorization header.
var principals = map[string]Principal{
	"ada":      {Subject: "ada"},
	"red":      {Subject: "red", Namespaces: []string{"red"}},
	"blue":     {Subject: "blue", Namespaces: []string{"blue"}},
	"blue-ops": {Subject: "blue-ops", Namespaces: []string{"blue"}, Role: RoleServer},
	"star":     {Subject: "star", Namespaces: []string{"*"}},
	"root":     {Subject: "root", Namespaces: []string{"*"}, Role: RoleServer},
	"disguise": {Subject: "actor:counter.v1.Counter/a"},
}

func byHeader(_ context.Context, header http.Header) (Principal, error) {
	switch name := header.Get("Authorization"); name {
	case "banned":
		return Principal{}, actors.Errorf(connect.CodePermissionDenied, "banned", "go away").With("until", "tomorrow")
	case "down":
		return Principal{}, connect.NewError(connect.CodeUnavailable, "ask again")
	case "panic":
		panic("the secret of the hook")
	default:
		principal, ok := principals[name]
		if !ok {
			return Principal{}, errors.New("the secret of the hook")
		}
		return principal, nil
	}
}

func authenticated(cfg *Config) {
	cfg.Authenticate = byHeader
	cfg.Namespaces = []string{"default", "red", "blue"}
}

func increment(t *testing.T, b *bundle, header ...string) failure {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return b.post(t, counterv1connect.CounterIncrementProcedure, "application/json", h, []byte(`{"amount":"1"}`))
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	b := setup(t, authenticated)
	for name, c := range map[string]struct {
		header       []string
		code, reason string
	}{
		"known":                    {[]string{"Authorization", "ada"}, "", ""},
		"nobody":                   {nil, "unauthenticated", "unauthenticated"},
		"authored":                 {[]string{"Authorization", "banned"}, "permission_denied", "banned"},
		"connect":                  {[]string{"Authorization", "down"}, "unavailable", "unauthenticated"},
		"panic":                    {[]string{"Authorization", "panic"}, "unauthenticated", "unauthenticated"},
		"an actor's subject":       {[]string{"Authorization", "disguise"}, "unauthenticated", "reserved_subject"},
		"listed":                   {[]string{"Authorization", "red", "Actor-Namespace", "red"}, "", ""},
		"another":                  {[]string{"Authorization", "red", "Actor-Namespace", "blue"}, "permission_denied", "namespace_denied"},
		"default is not listed":    {[]string{"Authorization", "red"}, "permission_denied", "namespace_denied"},
		"empty list":               {[]string{"Authorization", "ada", "Actor-Namespace", "red"}, "permission_denied", "namespace_denied"},
		"star without the role":    {[]string{"Authorization", "star", "Actor-Namespace", "red"}, "permission_denied", "namespace_denied"},
		"star":                     {[]string{"Authorization", "root", "Actor-Namespace", "red"}, "", ""},
		"star and no namespace":    {[]string{"Authorization", "root", "Actor-Namespace", "green"}, "not_found", "unknown_namespace"},
		"denied and no namespace":  {[]string{"Authorization", "red", "Actor-Namespace", "green"}, "permission_denied", "namespace_denied"},
		"denied and not a name":    {[]string{"Authorization", "red", "Actor-Namespace", "RED"}, "invalid_argument", "bad_namespace"},
		"before the address":       {[]string{"Actor-Key", "%zz"}, "unauthenticated", "unauthenticated"},
		"the address before rules": {[]string{"Authorization", "ada", "Actor-Key", "%zz"}, "invalid_argument", "bad_actor_key"},
	} {
		got := increment(t, b, c.header...)
		if got.code != c.code || got.reason != c.reason || strings.Contains(got.message, "secret") ||
			c.code != "" && got.outcome != troupev1.Outcome_OUTCOME_NOT_EXECUTED {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if got := b.post(t, "/grpc.health.v1.Health/Check", "application/json", nil, []byte(`{}`)); got.status != http.StatusOK {
		t.Errorf("health needs no authentication: %+v", got)
	}
	if got := b.post(t, counterv1connect.CounterIncrementProcedure, "application/grpc", nil, []byte("no frame")); got.code != "unauthenticated" {
		t.Errorf("gRPC: %+v", got)
	}
	if got := b.post(t, "/actors/default/a/@"+counterv1connect.CounterIncrementProcedure, "application/json", nil, []byte(`{}`)); got.code != "unauthenticated" {
		t.Errorf("an address in the URL: %+v", got)
	}
}

// TestAuthenticateReadsNoBody holds that who is not known is answered before the
// body has come.
func TestAuthenticateReadsNoBody(t *testing.T) {
	t.Parallel()
	b := setup(t, authenticated)
	body, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+counterv1connect.CounterIncrementProcedure, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Content-Encoding", "gzip")
	response, err := b.h2.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %d", response.StatusCode)
	}
}

func TestPrincipalReachesTheActor(t *testing.T) {
	t.Parallel()
	subject := make(chan string, 1)
	b := setup(t, func(cfg *Config) {
		authenticated(cfg)
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) },
			actors.BeforeConnect(func(_ context.Context, attempt actors.Attempt, _ *counterv1.SubscribeRequest) error {
				subject <- attempt.Subject
				return nil
			}))
	})
	if got := increment(t, b, "Authorization", "ada"); got.code != "" {
		t.Fatalf("got %+v", got)
	}
	if got := <-subject; got != "ada" {
		t.Errorf("the subject is %q", got)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	b := setup(t, authenticated)
	list := func(as string) failure {
		return b.post(t, "/troupe.v1.ActorService/List", "application/json", http.Header{"Authorization": {as}}, []byte(`{"namespace":"blue"}`))
	}
	if got := list("blue"); got.reason != "server_role_required" {
		t.Errorf("a user on loopback: %+v", got)
	}
	if got := list("blue-ops"); got.status != http.StatusOK {
		t.Errorf("the server role: %+v", got)
	}
	if got := list("root"); got.status != http.StatusOK {
		t.Errorf("the server role of every namespace: %+v", got)
	}
}

// TestAuthenticateAllowsExposure holds that callers who are known may come from
// anywhere, and anonymous ones from this machine.
func TestAuthenticateAllowsExposure(t *testing.T) {
	t.Parallel()
	cfg := Config{Listen: "0.0.0.0:80"}
	if err := checkListen(cfg.Listen, cfg.allowsExposure()); !errors.Is(err, errExposed) {
		t.Errorf("anonymous: %v", err)
	}
	cfg.Authenticate = byHeader
	if err := checkListen(cfg.Listen, cfg.allowsExposure()); err != nil {
		t.Errorf("authenticated: %v", err)
	}
	p := &program{handlers: make(map[string]http.Handler)}
	Authenticate(byHeader).apply(p)
	if p.authenticate == nil {
		t.Error("the option does nothing")
	}
}

func TestAuthTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) {
		cfg.Limits.AuthTimeout = time.Millisecond
		cfg.Authenticate = func(ctx context.Context, _ http.Header) (Principal, error) {
			<-ctx.Done()
			return Principal{}, ctx.Err()
		}
	})
	if got := increment(t, b); got.code != "unauthenticated" {
		t.Errorf("got %+v", got)
	}
}

func TestAuthFailuresPerIP(t *testing.T) {
	t.Parallel()
	asked := 0
	a := newAuthenticator(Config{
		Authenticate: func(context.Context, http.Header) (Principal, error) { asked++; return Principal{}, errors.New("no") },
		Limits:       Limits{AuthTimeout: time.Minute, AuthFailuresPerIP: 3},
		Logger:       slog.New(slog.DiscardHandler),
	})
	a.delay = time.Nanosecond
	try := func(peer string) connect.Code {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		r.RemoteAddr = peer
		_, err := a.authenticate(r)
		return connect.CodeOf(err)
	}
	for range 3 {
		if got := try("192.0.2.1:1"); got != connect.CodeUnauthenticated {
			t.Errorf("got %v", got)
		}
	}
	if got := try("192.0.2.1:2"); got != connect.CodeResourceExhausted || asked != 3 {
		t.Errorf("got %v after %d questions", got, asked)
	}
	if got := try("192.0.2.2:1"); got != connect.CodeUnauthenticated {
		t.Errorf("another address: %v", got)
	}
	if newAuthenticator(Config{Authenticate: byHeader}).failures != nil {
		t.Error("failures are counted by default")
	}
}

// TestAuthFailuresAtOnce holds that who tries many secrets at the same time learns no more
// of them than one after the other.
func TestAuthFailuresAtOnce(t *testing.T) {
	t.Parallel()
	const limit, tries = 2, 5
	var asked sync.WaitGroup
	asked.Add(tries + 1)
	tried := make(chan struct{})
	a := newAuthenticator(Config{
		Authenticate: func(_ context.Context, header http.Header) (Principal, error) {
			asked.Done()
			asked.Wait()
			if header.Get("Authorization") == "right" {
				<-tried
				return Principal{Subject: "ada"}, nil
			}
			return Principal{}, errors.New("no")
		},
		Limits: Limits{AuthTimeout: time.Minute, AuthFailuresPerIP: limit},
		Logger: slog.New(slog.DiscardHandler),
	})
	a.delay = time.Nanosecond
	try := func(secret string) connect.Code {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		r.Header.Set("Authorization", secret)
		if _, err := a.authenticate(r); err != nil {
			return connect.CodeOf(err)
		}
		return 0
	}
	right := make(chan connect.Code, 1)
	go func() { right <- try("right") }()
	wrong := make(chan connect.Code, tries)
	for range tries {
		go func() { wrong <- try("wrong") }()
	}
	got := make(map[connect.Code]int)
	for range tries {
		got[<-wrong]++
	}
	close(tried)
	if want := map[connect.Code]int{connect.CodeUnauthenticated: limit, connect.CodeResourceExhausted: tries - limit}; !maps.Equal(got, want) {
		t.Errorf("wrong secrets: got %v, want %v", got, want)
	}
	if got := <-right; got != connect.CodeResourceExhausted {
		t.Errorf("the right one after them: %v", got)
	}
}
