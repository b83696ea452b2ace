// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// stuckCounter ignores its context until it is released.
type stuckCounter struct {
	counter

	release chan struct{}
}

func (c *stuckCounter) Increment(_ context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	c.State().Count += req.GetAmount()
	if req.GetAmount() > 1 {
		<-c.release
	}
	return &counterv1.IncrementResponse{Count: c.State().GetCount()}, nil
}

func (c *stuckCounter) Get(ctx context.Context, req *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	if c.Key()[0] == "read" {
		<-c.release
	}
	return c.counter.Get(ctx, req)
}

// TestP23_ACallerIsAnsweredWhileItsTurnIsStuck holds for every protocol, although a
// turn over HTTP/1.1 runs on its connection's own goroutine.
func TestP23_ACallerIsAnsweredWhileItsTurnIsStuck(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := setup(t, func(cfg *Config) {
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *stuckCounter { return &stuckCounter{release: release} },
			actors.ActionTimeout(200*time.Millisecond))
	})
	post := func(key, method, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/counter.v1.Counter/"+method, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Actor-Key", key)
		return fetch(t, b.h1, r)
	}
	if status, body := post("a", "Increment", `{"amount":1}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	for name, ask := range map[string]func() (int, string){
		"write": func() (int, string) { return post("a", "Increment", `{"amount":100}`) },
		"read": func() (int, string) {
			post("read", "Increment", `{"amount":1}`)
			return post("read", "Get", `{}`)
		},
		"get": func() (int, string) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
				b.url+"/actors/default/read/@/counter.v1.Counter/Get?connect=v1&encoding=json&message="+url.QueryEscape("{}"), nil)
			if err != nil {
				t.Fatal(err)
			}
			post("read", "Increment", `{"amount":1}`)
			return fetch(t, b.h1, r)
		},
	} {
		status, body := ask()
		for _, want := range []string{`"deadline_exceeded"`, `"OUTCOME_NOT_EXECUTED"`} {
			if status != http.StatusGatewayTimeout || !strings.Contains(body, want) {
				t.Errorf("%s: %d %s", name, status, body)
			}
		}
	}
	h2 := counterv1connect.NewCounterClient(connect.NewClient(connecthttp.NewTransport(b.h2, b.url, connecthttp.WithGRPC()), keyed("c")))
	if _, err := h2.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 100}); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
		t.Errorf("gRPC: %v", err)
	}
	if status, body := post("d", "Increment", `{"amount":1}`); status != http.StatusOK {
		t.Errorf("another actor: %d %s", status, body)
	}
	close(release)
	for range 100 { // until the stuck turn has ended
		if status, body := post("a", "Get", `{}`); status == http.StatusOK {
			if !strings.Contains(body, `"1"`) {
				t.Errorf("a turn past its limit took effect: %s", body)
			}
			return
		}
	}
	t.Error("the actor is still busy")
}

func fetch(t *testing.T, client *http.Client, r *http.Request) (status int, body string) {
	t.Helper()
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

// keyed names an actor in every call of a client.
func keyed(key string) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("actor-key", key)
			}
			return next(ctx, spec)
		}
	}
}
