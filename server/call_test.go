// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

func TestCall(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for name, client := range b.clients() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, info := at(t.Context(), "actor-key", "org/"+name)
			reply, err := client.Increment(ctx, &counterv1.IncrementRequest{Amount: 2})
			if err != nil || reply.GetCount() != 2 {
				t.Fatalf("Increment: %v, %v", reply, err)
			}
			id := info.ResponseHeader().Get("actor-id")
			if id == "" || info.ResponseHeader().Get("actor-created") != "true" || info.ResponseHeader().Get("cache-control") != "no-store" {
				t.Errorf("headers of a creation: %v", info.ResponseHeader())
			}
			ctx, info = at(t.Context(), "actor-id", id, "x-say", "hello")
			got, err := client.Get(ctx, &counterv1.GetRequest{})
			if err != nil || got.GetCount() != 2 {
				t.Fatalf("Get by id: %v, %v", got, err)
			}
			if info.ResponseHeader().Get("actor-id") != id || info.ResponseHeader().Has("actor-created") {
				t.Errorf("headers of a read: %v", info.ResponseHeader())
			}
			if got := info.ResponseHeader().Get("x-echo"); got != "hello" {
				t.Errorf("the method's own header: %q", got)
			}

			ctx, _ = at(t.Context(), "actor-id", id)
			_, err = client.Fail(ctx, &counterv1.FailRequest{})
			assertError(t, err, connect.CodeFailedPrecondition, "on_purpose", "counter.v1.Counter")
			ctx, _ = at(t.Context(), "actor-id", id)
			_, err = client.Fail(ctx, &counterv1.FailRequest{Panic: true})
			assertError(t, err, connect.CodeInternal, "internal", "troupe.v1")
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the panic's text left the server: %v", err)
			}
			ctx, _ = at(t.Context(), "actor-key", "nobody", "actor-resolve", "get")
			if _, err = client.Get(ctx, &counterv1.GetRequest{}); connect.CodeOf(err) != connect.CodeNotFound {
				t.Errorf("get of an absent actor: %v", err)
			}
		})
	}
}

func assertError(t *testing.T, err error, code connect.Code, reason, domain string) {
	t.Helper()
	wire, ok := errorAs(err)
	if !ok || wire.Code() != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	var info *errdetails.ErrorInfo
	var outcome *troupev1.Outcome
	for _, detail := range wire.Details() {
		message, err := connectproto.UnmarshalErrorDetail(detail)
		if err != nil {
			t.Fatal(err)
		}
		switch m := message.(type) {
		case *errdetails.ErrorInfo:
			info = m
		case *troupev1.Outcome:
			outcome = m
		}
	}
	if info.GetReason() != reason || info.GetDomain() != domain || outcome.GetOutcome() != troupev1.Outcome_OUTCOME_NOT_EXECUTED {
		t.Errorf("details of %v: %v %v", err, info, outcome)
	}
	if code == connect.CodeInternal && outcome.GetCorrelationId() == "" {
		t.Errorf("%v has no correlation id", err)
	}
}

func errorAs(err error) (*connect.Error, bool) {
	return errors.AsType[*connect.Error](err)
}

// TestP17_OverTheWire repeats a request under its idempotency key in one protocol
// after the other, all of them stock.
func TestP17_OverTheWire(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for name, client := range b.clients() {
		ctx, _ := at(t.Context(), "actor-key", "one", "idempotency-key", "k")
		reply, err := client.Increment(ctx, &counterv1.IncrementRequest{Amount: 2})
		if err != nil || reply.GetCount() != 2 {
			t.Errorf("%s: %v, %v", name, reply, err)
		}
		ctx, _ = at(t.Context(), "actor-key", "one", "idempotency-key", "k")
		_, err = client.Increment(ctx, &counterv1.IncrementRequest{Amount: 3})
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: another request under the key: %v", name, err)
		}
		ctx, _ = at(t.Context(), "actor-key", "one", "idempotency-key", "k")
		if got, err := client.Get(ctx, &counterv1.GetRequest{}); err != nil || got.GetCount() != 2 {
			t.Errorf("%s: a read-only call with a key: %v, %v", name, got, err)
		}
	}
}

// TestReplyTooLarge holds that a call whose reply may not be sent has no effect, and that
// its caller knows.
func TestReplyTooLarge(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.ResponseBytes = 1 })
	for _, p := range protocols {
		if !p.grpc {
			continue // Connect's own protocol measures errors too, and no detail fits into this limit
		}
		body := []byte{0x08, 0x01}
		if p.json {
			body = []byte(`{"amount": 1}`)
		}
		got := b.post(t, counterv1connect.CounterIncrementProcedure, p.contentType, nil, envelope(body))
		if got.reason != "reply_too_large" || got.outcome != troupev1.Outcome_OUTCOME_NOT_EXECUTED {
			t.Errorf("%s: got %+v", p.name, got)
		}
	}
}

func TestURLAddressCall(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	// A stock Go client with a base URL; it does not keep an encoded slash of one.
	client := counterv1connect.NewCounterClient(connect.NewClient(connecthttp.NewTransport(b.h1, b.url+"/actors/default/a/c/@")))
	if _, err := client.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 3}); err != nil {
		t.Fatal(err)
	}
	ctx, _ := at(t.Context(), "actor-key", "a/c")
	if reply, err := b.counters().Get(ctx, &counterv1.GetRequest{}); err != nil || reply.GetCount() != 3 {
		t.Errorf("the same key in a header: %v, %v", reply, err)
	}
	base := b.url + "/actors/default/a%2Fb/c/@"
	if got := b.post(t, "/actors/default/a%2Fb/c/@"+counterv1connect.CounterIncrementProcedure, "application/json", nil, []byte(`{"amount": 5}`)); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	ctx, _ = at(t.Context(), "actor-key", "a%2Fb/c")
	if reply, err := b.counters().Get(ctx, &counterv1.GetRequest{}); err != nil || reply.GetCount() != 5 {
		t.Errorf("the same key in a header: %v, %v", reply, err)
	}

	query := url.Values{"encoding": {"json"}, "message": {"{}"}, "connect": {"v1"}}
	response, body := do(t, b.h1, base+counterv1connect.CounterGetProcedure+"?"+query.Encode(), "", nil)
	if response.StatusCode != http.StatusOK || strings.ReplaceAll(body, " ", "") != `{"count":"5"}` {
		t.Errorf("HTTP GET: %d %s", response.StatusCode, body)
	}
	if response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("HTTP GET may be stored: %v", response.Header)
	}

	// A GET creates nothing.
	response, _ = do(t, b.h1, b.url+"/actors/default/nobody/@"+counterv1connect.CounterGetProcedure+"?"+query.Encode(), "", nil)
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("HTTP GET of an absent actor: %d", response.StatusCode)
	}
	if got := b.post(t, "/actors/default/x/@/troupe.v1.ActorService/List", "application/json", nil, []byte("{}")); got.reason != "bad_url_address" {
		t.Errorf("a service that is no actor: %+v", got)
	}
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for name, client := range b.clients() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, info := at(t.Context(), "actor-key", name)
			stream, err := client.Subscribe(ctx, &counterv1.SubscribeRequest{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = stream.Close() }()
			opened, err := stream.Receive()
			if err != nil || opened.GetInfo().GetOpened() == nil {
				t.Fatalf("first frame: %v, %v", opened, err)
			}
			if info.ResponseHeader().Get("actor-id") != opened.GetInfo().GetOpened().GetActorId() || info.ResponseHeader().Get("x-accel-buffering") != "no" {
				t.Errorf("headers: %v", info.ResponseHeader())
			}
			const events = 20
			for range events {
				ctx, _ := at(t.Context(), "actor-key", name)
				if _, err := client.Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
					t.Fatal(err)
				}
			}
			for want := int64(1); want <= events; want++ {
				frame, err := stream.Receive()
				if err != nil {
					t.Fatal(err)
				}
				if got := frame.GetCountChanged().GetCount(); got != want {
					t.Fatalf("event %d: %v", want, frame)
				}
			}
		})
	}
}

func TestRefusedSubscription(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ctx, _ := at(t.Context(), "actor-key", "absent", "actor-resolve", "get")
	stream, err := b.counters().Subscribe(ctx, &counterv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	if _, err := stream.Receive(); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("got %v", err)
	}
}

// TestSubscriberLeaves holds that a subscriber who goes is no error of the server.
func TestSubscriberLeaves(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, key := range []string{"a", "b", "c"} {
		if err := b.subscribe(t, key).Close(); err != nil {
			t.Fatal(err)
		}
	}
	b.h1.CloseIdleConnections()
	if err := b.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if strings.Contains(b.logs.String(), "level=ERROR") {
		t.Errorf("log:\n%s", b.logs)
	}
}

// TestShutdown holds that a stop tells a subscriber why before it ends the stream.
func TestShutdown(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	stream := b.subscribe(t, "a")
	stopped := make(chan error, 1)
	go func() { stopped <- b.Shutdown(t.Context()) }()
	frame, err := stream.Receive()
	if err != nil || frame.GetInfo().GetClosing().GetReason() != troupev1.CloseReason_CLOSE_REASON_SHUTDOWN {
		t.Errorf("last frame: %v, %v", frame, err)
	}
	if _, err := stream.Receive(); err == nil || connect.CodeOf(err) == connect.CodeInternal {
		t.Errorf("after the last frame: %v", err)
	}
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the server does not stop")
	}
}
