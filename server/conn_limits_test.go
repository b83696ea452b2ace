// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/types/known/structpb"
)

// TestHeaderBytes holds that headers that are too long are refused while they come.
// The refusal may be lost, as the connection is closed with bytes unread.
func TestHeaderBytes(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.HeaderBytes, cfg.Limits.HeaderTimeout = 2000, time.Hour })
	conn := b.dial(t)
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nX-Long: "+strings.Repeat("x", 20_000))
	response, readErr := http.ReadResponse(bufio.NewReader(conn), nil)
	if readErr == nil {
		_ = response.Body.Close()
		if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("got %d", response.StatusCode)
		}
	} else if err = errors.Join(err, readErr); !isReset(err) {
		t.Errorf("got %v", err)
	}
}

// TestP46_SlowHeadersAreCut holds that a peer that never ends its headers is cut.
func TestP46_SlowHeadersAreCut(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.HeaderTimeout = 20 * time.Millisecond })
	conn := b.dial(t)
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\n"); err != nil {
		t.Fatal(err)
	}
	assertCut(t, conn)
}

func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.IdleTimeout = 20 * time.Millisecond })
	conn := b.dial(t)
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	assertCut(t, conn)
}

// assertCut reads until the server closes the connection.
func assertCut(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	if _, err := io.Copy(io.Discard, reader); err != nil && !isReset(err) {
		t.Errorf("the connection is not cut: %v", err)
	}
}

func isReset(err error) bool {
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

// TestStreamsPerConnection holds that the calls of one HTTP/2 connection beyond the
// limit wait in their client.
func TestStreamsPerConnection(t *testing.T) {
	t.Parallel()
	arrived, leave := make(chan struct{}, 8), make(chan struct{})
	b := setup(t, func(cfg *Config) {
		cfg.Limits.StreamsPerConnection = 2
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) },
			actors.BeforeConnect(func(context.Context, actors.Attempt, *counterv1.SubscribeRequest) error {
				arrived <- struct{}{}
				<-leave
				return nil
			}))
	})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols, MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	done := make(chan int, 3)
	for range 3 {
		go func() {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+counterv1connect.CounterIncrementProcedure, strings.NewReader(`{"amount":1}`))
			if err != nil {
				panic(err)
			}
			request.Header.Set("Content-Type", "application/json")
			response, err := client.Do(request)
			if err != nil {
				done <- 0
				return
			}
			_ = response.Body.Close()
			done <- response.StatusCode
		}()
	}
	<-arrived
	<-arrived
	if len(arrived) != 0 {
		t.Error("a third call is served on the connection")
	}
	close(leave)
	for range 3 {
		if got := <-done; got != http.StatusOK {
			t.Errorf("got %d", got)
		}
	}
}

// TestP47_NestingIsBounded holds that a message may nest a hundred deep, in either
// encoding, and no deeper.
func TestP47_NestingIsBounded(t *testing.T) {
	t.Parallel()
	nested := func(depth int) *structpb.Value {
		value := structpb.NewNullValue()
		for range depth {
			value = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{value}})
		}
		return value
	}
	c := newCodecs(false)
	for _, codec := range []interface {
		actors.Codec
		connect.Codec
	}{c.binary, c.json} {
		for depth, fails := range map[int]bool{40: false, 120: true, 4000: true} { // by protobuf a list within a list is two messages
			encoded, err := codec.Append(nil, nested(depth))
			if err != nil {
				t.Fatal(err)
			}
			err = codec.UnmarshalRead(t.Context(), strings.NewReader(string(encoded)), new(structpb.Value))
			if (err != nil) != fails {
				t.Errorf("%s, %d lists: %v", codec.Name(), depth, err)
			}
		}
	}
}

func TestStrictJSON(t *testing.T) {
	t.Parallel()
	lax, strict := setup(t, nil), setup(t, func(cfg *Config) { cfg.StrictJSON = true })
	body := []byte(`{"amount":1,"from_the_future":true}`)
	if got := lax.post(t, counterv1connect.CounterIncrementProcedure, "application/json", nil, body); got.code != "" {
		t.Errorf("by default: %+v", got)
	}
	if got := strict.post(t, counterv1connect.CounterIncrementProcedure, "application/json", nil, body); got.code != "invalid_argument" || got.reason != "bad_request_body" {
		t.Errorf("strict: %+v", got)
	}
}

// TestP46_AnExpandedBodyIsBounded holds that a small body cannot become a large
// message.
func TestP46_AnExpandedBodyIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.RequestBytes = 1000 })
	header := http.Header{"Content-Encoding": {"gzip"}}
	if got := b.post(t, counterv1connect.CounterIncrementProcedure, "application/json", header, gzipped(t, strings.Repeat(" ", 100_000)+`{"amount":1}`)); got.reason != "request_too_large" {
		t.Errorf("got %+v", got)
	}
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// TestABodyThatNobodyReadsIsWaitedForInTime holds that who announces a body and does not
// send it is answered or cut, also where nothing looks at bodies: net/http waits for one
// before it answers.
func TestABodyThatNobodyReadsIsWaitedForInTime(t *testing.T) {
	t.Parallel()
	b, _ := setupPages(t, func(cfg *Config) {
		cfg.Limits.BodyTimeout, cfg.Limits.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
		cfg.Handlers = map[string]http.Handler{"/": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, 64<<10)) // more than net/http keeps back
		})}
	})
	b.count(t, "a")
	for name, request := range map[string]string{
		"health":                "GET /healthz HTTP/1.1\r\n",
		"readiness":             "HEAD /readyz HTTP/1.1\r\n",
		"the description":       "GET /openapi.json HTTP/1.1\r\n",
		"content of others":     "GET /index.html HTTP/1.1\r\n",
		"an event source":       "GET /actors/default/a/@/counter.v1.Counter/Subscribe HTTP/1.1\r\nAccept: text/event-stream\r\n",
		"a raw request":         "POST /actors/default/a" + rawBase + "/count HTTP/1.1\r\n",
		"a raw request at once": "POST /actors/default/a" + rawBase + "/stay HTTP/1.1\r\n",
	} {
		conn := b.dial(t)
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request+"Host: localhost\r\nContent-Length: 1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is neither answered nor cut", name)
		}
	}
}
