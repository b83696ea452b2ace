// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/grpcreflect/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// startForeign serves handler by a listener that is not the server's.
func startForeign(t *testing.T, handler http.Handler) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

func TestHostList(t *testing.T) {
	t.Parallel()
	local := newHostList("127.0.0.1:8080", []string{"dev.example.com"})
	exposed := newHostList("0.0.0.0:8080", nil)
	for host, want := range map[string][2]bool{
		"localhost:8080":        {true, true},
		"LOCALHOST":             {true, true},
		"127.0.0.1":             {true, true},
		"127.0.0.2:1":           {true, true},
		"[::1]:8080":            {true, true},
		"":                      {true, true},
		"dev.example.com:443":   {true, false},
		"evil.example.com":      {false, false},
		"evil.example.com:8080": {false, false},
		"10.0.0.1:8080":         {false, true},
		"localhost.evil.com":    {false, false},
	} {
		if got := [2]bool{local.allows(host), exposed.allows(host)}; got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
}

func TestForeignHost(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	response, body := do(t, b.h1, b.url+counterv1connect.CounterIncrementProcedure, `{"amount":1}`, http.Header{"Host": {"evil.example.com"}})
	if f := readFailure(t, response, []byte(body)); f.status != http.StatusForbidden || f.reason != "host_not_allowed" {
		t.Errorf("got %+v", f)
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.CORSOrigins = []string{"https://app.example.com"} })
	off := setup(t, nil)
	preflight := func(b *bundle, origin string) http.Header {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, b.url+counterv1connect.CounterIncrementProcedure, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Origin", origin)
		request.Header.Set("Access-Control-Request-Method", "POST")
		request.Header.Set("Access-Control-Request-Headers", "actor-events,actor-key,actor-resume,authorization,connect-protocol-version,content-type,idempotency-key,last-event-id")
		response, err := b.h1.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.Header
	}
	if h := preflight(b, "https://app.example.com"); h.Get("Access-Control-Allow-Origin") != "https://app.example.com" ||
		h.Get("Access-Control-Max-Age") != "7200" || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "actor-key") {
		t.Errorf("a listed origin: %v", h)
	}
	if h := preflight(b, "https://evil.example.com"); h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %v", h)
	}
	if h := preflight(off, "https://app.example.com"); h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without a list: %v", h)
	}
	response, _ := do(t, b.h1, b.url+counterv1connect.CounterIncrementProcedure, `{"amount":1}`, http.Header{"Origin": {"https://app.example.com"}})
	for _, name := range []string{"Actor-Id", "Actor-Cursor", "Actor-Created"} {
		if !strings.Contains(response.Header.Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%s is not exposed: %v", name, response.Header)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	if got := b.post(t, "/grpc.health.v1.Health/Check", "application/json", nil, []byte(`{"service":"counter.v1.Counter"}`)); got.status != http.StatusOK {
		t.Errorf("Check of a service: %+v", got)
	}
	if got := b.post(t, "/grpc.health.v1.Health/Check", "application/grpc", nil, envelope(nil)); got.code != "" {
		t.Errorf("Check of the server: %+v", got)
	}
	if got := b.post(t, "/grpc.health.v1.Health/Check", "application/json", nil, []byte(`{"service":"nobody"}`)); got.code != "not_found" {
		t.Errorf("Check of nothing: %+v", got)
	}
	if response, _ := do(t, b.h1, b.url+"/readyz", "", nil); response.StatusCode != http.StatusOK || response.Close {
		t.Errorf("/readyz: %d, and the connection is closed: %t", response.StatusCode, response.Close)
	}
	b.health.drain()
	response, _ := do(t, b.h1, b.url+"/readyz", "", nil)
	if response.StatusCode != http.StatusServiceUnavailable || !response.Close {
		t.Errorf("/readyz of a server that stops: %d, and the connection is closed: %t", response.StatusCode, response.Close)
	}
	if _, body := do(t, b.h1, b.url+"/grpc.health.v1.Health/Check", "{}", nil); !strings.Contains(body, "NOT_SERVING") {
		t.Errorf("Check of a server that stops: %s", body)
	}
}

func TestReflection(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	stream := grpcreflect.NewClient(connect.NewClient(connecthttp.NewTransport(b.h2, b.url, connecthttp.WithGRPC()))).NewStream(t.Context())
	names, err := stream.ListServices()
	if err != nil {
		t.Fatal(err)
	}
	want := []protoreflect.FullName{
		"counter.v1.Counter", "troupe.v1.ActorService", "grpc.health.v1.Health",
		"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
	}
	if diff := cmp.Diff(want, names, cmpopts.SortSlices(func(a, b protoreflect.FullName) bool { return a < b })); diff != "" {
		t.Error(diff)
	}
	for _, name := range names {
		if _, err := stream.FileContainingSymbol(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	off := setup(t, func(cfg *Config) { cfg.Reflection = "off" })
	if got := off.post(t, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "application/grpc", nil, envelope(nil)); got.reason != "unknown_service" {
		t.Errorf("reflection that is off: %+v", got)
	}
}

// TestTLS holds that a browser, which speaks HTTP/2 by TLS only, gets it.
func TestTLS(t *testing.T) {
	t.Parallel()
	certified := httptest.NewUnstartedServer(http.NotFoundHandler())
	certified.StartTLS()
	t.Cleanup(certified.Close)
	b := setup(t, func(cfg *Config) {
		cfg.TLS = &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12}
	})
	trust := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	trust.RootCAs.AddCert(certified.Certificate())
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: trust}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	response, _ := do(t, client, strings.Replace(b.url, "http:", "https:", 1)+counterv1connect.CounterIncrementProcedure, `{"amount":1}`, nil)
	if response.StatusCode != http.StatusOK || response.Proto != "HTTP/2.0" {
		t.Errorf("got %d by %s", response.StatusCode, response.Proto)
	}
}

func TestExtraHandlers(t *testing.T) {
	t.Parallel()
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the page") })
	b := setup(t, func(cfg *Config) { cfg.Handlers = map[string]http.Handler{"/": page} })
	if _, body := do(t, b.h1, b.url+"/index.html", "", nil); body != "the page" {
		t.Errorf("got %q", body)
	}
	if got := b.post(t, "/nobody.v1.Nobody/Call", "application/json", nil, []byte("{}")); got.reason != "unknown_service" {
		t.Errorf("an unknown service beside a page: %+v", got)
	}
	if got := b.post(t, counterv1connect.CounterIncrementProcedure, "application/json", nil, []byte(`{"amount":1}`)); got.status != http.StatusOK {
		t.Errorf("a call beside a page: %+v", got)
	}
}

func TestBodyTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.BodyTimeout = 50 * time.Millisecond })
	conn := b.dial(t)
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{", counterv1connect.CounterIncrementProcedure); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if f := readFailure(t, response, body); f.reason != "request_body_timeout" {
		t.Errorf("got %+v: %s", f, body)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on: %v", err)
	}

	// On HTTP/2 the stream is refused and the connection goes on.
	reader, writer := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+counterv1connect.CounterIncrementProcedure, reader)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/grpc")
	response, err = b.h2.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err = io.ReadAll(response.Body)
	_ = response.Body.Close()
	_ = writer.Close()
	if err != nil {
		t.Fatal(err)
	}
	if f := readFailure(t, response, body); f.reason != "request_body_timeout" {
		t.Errorf("HTTP/2: got %+v", f)
	}
	ctx, _ := at(t.Context(), "actor-key", "a")
	if _, err := b.counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
		t.Errorf("the server is not up any more: %v", err)
	}
}

func TestNoHTTPGet(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.NoHTTPGet = true })
	response, _ := do(t, b.h1, b.url+counterv1connect.CounterGetProcedure+"?encoding=json&message={}", "", nil)
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("got %d", response.StatusCode)
	}
}

func TestCallLimits(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.Subscriptions = 1 })
	b.subscribe(t, "a")
	if got := b.post(t, counterv1connect.CounterSubscribeProcedure, "application/grpc", nil, envelope(nil)); got.reason != "too_many_subscriptions" || !got.retry {
		t.Errorf("a subscription too many: %+v", got)
	}
	g := gate{limit: 1}
	if !g.enter() || g.enter() {
		t.Error("the gate does not hold its limit")
	}
	g.leave()
	if !g.enter() {
		t.Error("the gate does not open again")
	}
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.ConnectionsPerIP = 1 })
	first := b.dial(t)
	if _, err := io.WriteString(first, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	second := b.dial(t)
	answer, _ := io.ReadAll(second)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") || !strings.Contains(string(answer), "Retry-After: 1\r\n") {
		t.Errorf("a connection too many reads %q", answer)
	}
}

func TestConnectionRate(t *testing.T) {
	t.Parallel()
	l := limitListener(nil, Limits{Connections: 1000, ConnectionRate: 2}, true, slog.New(slog.DiscardHandler))
	now := l.filled
	for _, step := range []struct {
		after time.Duration
		tries int
		want  int
	}{{0, 20, 8}, {time.Second, 20, 2}, {250 * time.Millisecond, 20, 0}, {250 * time.Millisecond, 20, 1}, {time.Hour, 20, 8}} {
		now = now.Add(step.after)
		got := 0
		for range step.tries {
			if l.admit(netip.Addr{}, now) {
				got++
			}
		}
		if got != step.want {
			t.Errorf("after %v, %d of %d connections are let in, want %d", step.after, got, step.tries, step.want)
		}
	}
}

func TestCapTimeout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, want string }{
		{"Connect-Timeout-Ms", "1000", "1000"},
		{"Connect-Timeout-Ms", "9999999999", "300000"},
		{"Connect-Timeout-Ms", "99999999999", "99999999999"}, // Connect refuses it
		{"Connect-Timeout-Ms", "often", "often"},
		{"Grpc-Timeout", "100m", "100m"},
		{"Grpc-Timeout", "99999999H", "300000m"},
		{"Grpc-Timeout", "301S", "300000m"},
		{"Grpc-Timeout", "0099999999S", "300000m"},   // Connect takes it
		{"Grpc-Timeout", "100000000S", "100000000S"}, // Connect refuses it
		{"Grpc-Timeout", "5x", "5x"},
	} {
		header := http.Header{c.name: {c.value}}
		capTimeout(header, 300*time.Second)
		if got := header.Get(c.name); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.name, c.value, got, c.want)
		}
	}
	short := http.Header{"Connect-Timeout-Ms": {"9999"}}
	capTimeout(short, time.Second)
	if got := short.Get("Connect-Timeout-Ms"); got != "1000" {
		t.Errorf("9999 with a limit of 1 s: got %s", got)
	}
}
