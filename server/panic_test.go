// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/gen/go/agent/v1/agentv1connect"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// fragile is a counter of which everything may panic.
type fragile struct {
	pages
}

func (*fragile) Fail(context.Context, *counterv1.FailRequest) (*counterv1.FailResponse, error) {
	panic("the secret of the action")
}

func (f *fragile) Increment(_ context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	f.State().Count += req.GetAmount()
	f.Broadcast(&counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{
		CountChanged: &counterv1.CountChanged{Count: f.State().GetCount()},
	}})
	return &counterv1.IncrementResponse{Count: f.State().GetCount()}, nil
}

// TestP47_APanicEndsItsRequestOnly panics in whatever serves requests, each on one
// connection of HTTP/2 that a subscription shares. It and the server go on.
func TestP47_APanicEndsItsRequestOnly(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) {
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *fragile { return new(fragile) },
			actors.BeforeConnect(func(_ context.Context, attempt actors.Attempt, _ *counterv1.SubscribeRequest) error {
				if attempt.Header.Get("x-panic") != "" {
					panic("the secret of the hook")
				}
				return nil
			}))
		actors.Register(cfg.Registry, agentv1connect.RegisterAssistantHandler, func() *talker { return new(talker) })
		cfg.Authenticate = func(_ context.Context, header http.Header) (Principal, error) {
			if header.Get("Authorization") == "panic" {
				panic("the secret of the hook")
			}
			return Principal{Subject: "ada"}, nil
		}
		cfg.Handlers = map[string]http.Handler{"/own/": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			panic("the secret of the handler")
		})}
	})
	client := connect.NewClient(connecthttp.NewTransport(b.h2, b.url))
	counters := counterv1connect.NewCounterClient(client)
	call := func(header ...string) error {
		ctx, _ := at(t.Context(), append(header, "actor-key", "a")...)
		_, err := counters.Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
		return err
	}
	get := func(path string) error {
		response, err := b.h2.Get(b.url + path)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err == nil && response.StatusCode >= http.StatusInternalServerError {
			err = fmt.Errorf("%s: %s", response.Status, body)
		}
		return err
	}
	ctx, _ := at(t.Context(), "actor-key", "a")
	stream, err := counters.Subscribe(ctx, new(counterv1.SubscribeRequest))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	if _, err := stream.Receive(); err != nil {
		t.Fatal(err)
	}
	count := int64(0)
	for name, panics := range map[string]func() error{
		"authenticate":   func() error { return call("authorization", "panic") },
		"before connect": func() error { return call("x-panic", "yes") },
		"action": func() error {
			ctx, _ := at(t.Context(), "actor-key", "a")
			_, err := counters.Fail(ctx, new(counterv1.FailRequest))
			return err
		},
		"streaming action": func() error {
			ctx, _ := at(t.Context(), "actor-key", "a")
			_, err := hear(ctx, agentv1connect.NewAssistantClient(client), "three panic")
			return err
		},
		"raw handler":            func() error { return get("/actors/default/a" + rawBase + "/panic") },
		"raw handler, begun":     func() error { return get("/actors/default/a" + rawBase + "/late-panic") },
		"handler of the program": func() error { return get("/own/page") },
	} {
		if err := panics(); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the caller got %v", name, err)
		}
		if err := call(); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
		count++
		if event, err := stream.Receive(); err != nil || event.GetCountChanged().GetCount() != count {
			t.Errorf("after %s the stream gives %v, %v, want %d", name, event, err, count)
		}
	}
	if !strings.Contains(b.logs.String(), "the secret of the action") {
		t.Error("the log does not say what panicked")
	}
}
