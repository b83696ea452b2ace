// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/encoding/protojson"
)

// serverEvent is one event of a text/event-stream.
type serverEvent struct{ id, name, data, retry string }

// frame decodes the event's data.
func (e serverEvent) frame(t *testing.T) *counterv1.CounterEvent {
	t.Helper()
	frame := new(counterv1.CounterEvent)
	if err := protojson.Unmarshal([]byte(e.data), frame); err != nil {
		t.Fatalf("%q: %v", e.data, err)
	}
	return frame
}

// eventStream is an open text/event-stream.
type eventStream struct {
	response *http.Response
	lines    *bufio.Scanner
}

// eventStream opens a stream of events at a path of the server.
func (b *bundle) eventStream(t *testing.T, client *http.Client, path string, header http.Header) *eventStream {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return &eventStream{response, bufio.NewScanner(response.Body)}
}

// next reads an event; ok is false at the end.
func (s *eventStream) next() (e serverEvent, ok bool) {
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch {
		case s.lines.Text() == "":
			return e, true
		case name == "id":
			e.id = value
		case name == "event":
			e.name = value
		case name == "data":
			e.data = value
		case name == "retry":
			e.retry = value
		case name == "":
			e.name = ":" + value
		}
	}
	return e, false
}

func (b *bundle) increment(t *testing.T, key string) {
	t.Helper()
	ctx, _ := at(t.Context(), "actor-key", key)
	if _, err := b.counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
		t.Fatal(err)
	}
}

const subscribeA = "/actors/default/a/@/counter.v1.Counter/Subscribe"

// TestEventSource holds what a subscription looks like to an EventSource, and that it
// goes on after the last event that its client has seen.
func TestEventSource(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.Heartbeat = 20 * time.Millisecond })
	b.increment(t, "a")
	for name, client := range map[string]*http.Client{"h1": b.h1, "h2": b.h2} {
		stream := b.eventStream(t, client, subscribeA, nil)
		for header, want := range map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no",
		} {
			if got := stream.response.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q", name, header, got)
			}
		}
		if stream.response.Header.Get("Actor-Id") == "" || stream.response.Header.Get("Actor-Cursor") == "" {
			t.Errorf("%s: the headers are %v", name, stream.response.Header)
		}
		opened, _ := stream.next()
		if opened.name != "opened" || opened.id == "" || opened.frame(t).GetInfo().GetOpened().GetConnection() == "" {
			t.Fatalf("%s: the first event is %+v", name, opened)
		}
		b.increment(t, "a")
		event, _ := stream.next()
		for event.name == ":heartbeat" {
			event, _ = stream.next()
		}
		if event.name != "countChanged" || event.id == opened.id || event.id != event.frame(t).GetInfo().GetCursor() || event.frame(t).GetCountChanged() == nil {
			t.Errorf("%s: got %+v", name, event)
		}
		if beat, _ := stream.next(); beat.name != ":heartbeat" || beat.id != event.id || beat.data != "" {
			t.Errorf("%s: got %+v", name, beat)
		}
		resumed := b.eventStream(t, client, subscribeA, http.Header{"Last-Event-ID": {opened.id}})
		if hello, _ := resumed.next(); !hello.frame(t).GetInfo().GetOpened().GetResumed() {
			t.Errorf("%s: it does not resume: %+v", name, hello)
		}
		if again, _ := resumed.next(); again != event {
			t.Errorf("%s: replayed %+v, want %+v", name, again, event)
		}
	}
}

// TestEventSourceRefusals holds that it is refused as the subscription would be, and
// creates no actor.
func TestEventSourceRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) {
		authenticated(cfg)
		cfg.CORSOrigins = []string{"https://app.example.com"}
		cfg.Limits.SubscriptionsPerPrincipal = 1
	})
	ctx, _ := at(t.Context(), "actor-key", "a", "Authorization", "ada")
	if _, err := b.counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
		t.Fatal(err)
	}
	const prefix = "/actors/default/"
	for name, c := range map[string]struct {
		path, authorization, origin string
		status                      int
		reason                      string
	}{
		"nobody":       {subscribeA, "", "", http.StatusUnauthorized, "unauthenticated"},
		"namespace":    {"/actors/other/a/@/counter.v1.Counter/Subscribe", "ada", "", http.StatusForbidden, "namespace_denied"},
		"absent":       {prefix + "b/@/counter.v1.Counter/Subscribe", "ada", "", http.StatusNotFound, "actor_not_found"},
		"create":       {subscribeA + "?resolve=create", "ada", "", http.StatusBadRequest, "bad_actor_resolve"},
		"cursor":       {subscribeA + "?resume=nonsense", "ada", "", http.StatusBadRequest, "bad_actor_resume"},
		"events":       {subscribeA + "?events=nothing", "ada", "", http.StatusBadRequest, "bad_actor_events"},
		"message":      {subscribeA + "?message=" + url.QueryEscape("{"), "ada", "", http.StatusBadRequest, "bad_request_body"},
		"encoding":     {subscribeA + "?message={}&encoding=xml", "ada", "", http.StatusBadRequest, "bad_request_body"},
		"base64":       {subscribeA + "?message=!&base64=1", "ada", "", http.StatusBadRequest, "bad_request_body"},
		"params":       {subscribeA + "?params=AQ", "ada", "", http.StatusBadRequest, "bad_actor_params"},
		"twice":        {subscribeA + "?params=&message={}", "ada", "", http.StatusBadRequest, "address_conflict"},
		"another page": {subscribeA, "ada", "https://evil.example.com", http.StatusForbidden, "cross_origin"},
	} {
		header := http.Header{}
		if c.authorization != "" {
			header.Set("Authorization", c.authorization)
		}
		if c.origin != "" {
			header.Set("Origin", c.origin)
		}
		response := b.eventStream(t, b.h1, c.path, header)
		body, _ := bufio.NewReader(response.response.Body).ReadString(0)
		if got := readFailure(t, response.response, []byte(body)); got.status != c.status || got.reason != c.reason {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	open := b.eventStream(t, b.h1, subscribeA+"?encoding=proto&base64=1&message=", http.Header{"Authorization": {"ada"}, "Origin": {"https://app.example.com"}})
	if hello, _ := open.next(); hello.name != "opened" || open.response.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
		t.Errorf("a page that may: %+v, %v", hello, open.response.Header)
	}
	second := b.eventStream(t, b.h1, subscribeA, http.Header{"Authorization": {"ada"}})
	if second.response.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more than a principal may: %d", second.response.StatusCode)
	}
	plain := setup(t, func(cfg *Config) { cfg.NoHTTPGet = true })
	if got := plain.eventStream(t, plain.h1, subscribeA, nil).response; got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("without HTTP GET: %d", got.StatusCode)
	}
}

// TestEventSourceEnds holds how the stream ends: with a closing event, and with the
// error if there is one.
func TestEventSourceEnds(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.increment(t, "a")
	stream := b.eventStream(t, b.h1, subscribeA+"?params=", nil)
	stream.next()
	go func() { _ = b.Shutdown(context.Background()) }() // the cleanup waits for it
	closing, _ := stream.next()
	if closing.name != "closing" || closing.retry != "1000" || closing.frame(t).GetInfo().GetClosing() == nil {
		t.Errorf("got %+v", closing)
	}
	if extra, ok := stream.next(); ok {
		t.Errorf("after the closing event: %+v", extra)
	}
}

// TestEventSourceSlow holds that one that does not read is told so, in the end.
func TestEventSourceSlow(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) {
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) }, actors.SubscriberBuffer(4, 1<<20))
	})
	b.increment(t, "a")
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, subscribeA, nil)
	request.Header.Set("Accept", "text/event-stream")
	request.Host = "127.0.0.1"
	w := newDammedWriter()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Handler().ServeHTTP(w, request)
	}()
	w.await(func() bool { return strings.Contains(w.body.String(), "event: opened") })
	w.dam(true)
	for range 20 {
		b.increment(t, "a")
	}
	w.dam(false)
	<-done
	body := w.body.String()
	if !strings.Contains(body, "event: closing") || !strings.Contains(body, "CLOSE_REASON_SLOW") {
		t.Errorf("there is no closing event in %s", body)
	}
	_, failed, _ := strings.Cut(body, "event: failed\ndata: ")
	if !strings.Contains(failed, `"resource_exhausted"`) || !strings.Contains(failed, "slow_subscriber") || !strings.HasSuffix(failed, "}\n\n") {
		t.Errorf("the last event is %s", failed)
	}
}
