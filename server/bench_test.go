// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/proto"
)

// bareCounter is a handler without actors, the floor of what a call costs.
type bareCounter struct {
	counterv1connect.UnimplementedCounterHandler
}

func (bareCounter) Get(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	return &counterv1.GetResponse{Count: 7}, nil
}

// instant answers every call with the same reply, so that only the edge is
// measured.
type instant struct {
	id   store.ID
	body []byte
}

func (i *instant) Call(context.Context, *actors.Call) (actors.Reply, error) {
	return actors.Reply{Body: i.body, ID: i.id, Cursor: "0000000000000000000000000000.42"}, nil
}

func (i *instant) Subscribe(context.Context, *actors.Call) (*actors.Subscription, error) {
	return nil, errors.New("not measured")
}

func (i *instant) Stream(context.Context, *actors.Call) (*actors.Stream, error) {
	return nil, errors.New("not measured")
}

// BenchmarkServeHTTP measures one read without a network: a bare Connect handler
// behind http.ServeMux, the edge alone, and the edge with the runtime.
func BenchmarkServeHTTP(b *testing.B) {
	rpc := connect.NewServer()
	counterv1connect.RegisterCounterHandler(rpc, bareCounter{})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, rpc, connecthttp.WithCompressMinBytes(compressMinBytes))

	id := store.NewID(1)
	body, err := proto.Marshal(&counterv1.GetResponse{Count: 7})
	if err != nil {
		b.Fatal(err)
	}
	server, err := New(Config{Registry: newRegistry(), Store: memory.New(memory.Options{}), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Shutdown(context.Background()) })

	b.Run("bare", func(b *testing.B) { benchmarkHandler(b, mux) })
	b.Run("edge", func(b *testing.B) { benchmarkHandler(b, edgeOver(server, &instant{id: id, body: body})) })
	b.Run("full", func(b *testing.B) { benchmarkHandler(b, server.Handler()) })
}

// edgeOver is server's handler with another runner below it.
func edgeOver(server *Server, runner runner) http.Handler {
	codecs := newCodecs(false)
	rpc := connect.NewServer(guarded(server.cfg.Logger, nil))
	edge := &edge{runner: runner, codecs: codecs, namespaces: newNamespaces(server.cfg.Namespaces), log: server.cfg.Logger, replyBytes: server.cfg.Limits.ResponseBytes}
	routes := newRouter(server.cfg.Limits, connecthttp.NewErrorWriter())
	for _, m := range server.host.Methods() {
		rpc.Register(connect.Method{Spec: m.Spec, Handler: edge.handler(m)})
		routes.add(m.Spec, true)
	}
	connecthttp.Mount(routes, rpc, connecthttp.WithCodecs(codecs.binary, codecs.json), connecthttp.WithCompressMinBytes(compressMinBytes),
		connecthttp.WithReadMaxBytes(server.cfg.Limits.RequestBytes), connecthttp.WithSendMaxBytes(server.cfg.Limits.ResponseBytes))
	return server.front(routes)
}

func benchmarkHandler(b *testing.B, handler http.Handler) {
	b.Helper()
	payload := []byte{}
	template, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://localhost:8080"+counterv1connect.CounterGetProcedure, bytes.NewReader(payload))
	if err != nil {
		b.Fatal(err)
	}
	template.Header = http.Header{
		"Content-Type": {"application/proto"}, "Connect-Protocol-Version": {"1"}, "Accept-Encoding": {"gzip"},
		"User-Agent": {"bench"}, "Actor-Key": {"org/general"},
	}
	template.ContentLength = -1
	reader := bytes.NewReader(payload)
	response := &discard{header: make(http.Header)}
	b.ReportAllocs()
	begun := processorTime(b)
	defer func() { b.ReportMetric(float64(processorTime(b)-begun)/float64(b.N), "cpu-ns/op") }()
	for b.Loop() {
		request := *template
		reader.Reset(payload)
		request.Body = io.NopCloser(reader)
		clear(response.header)
		response.status = http.StatusOK
		handler.ServeHTTP(response, &request)
		if response.status != http.StatusOK {
			b.Fatal(response.status)
		}
	}
}

// processorTime is what this process has used: on a busy machine it says more than
// the clock does.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkHTTP measures the same over HTTP/1.1 on loopback, with a client that
// costs next to nothing.
func BenchmarkHTTP(b *testing.B) {
	rpc := connect.NewServer()
	counterv1connect.RegisterCounterHandler(rpc, bareCounter{})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, rpc, connecthttp.WithCompressMinBytes(compressMinBytes))
	server, err := New(Config{Registry: newRegistry(), Store: memory.New(memory.Options{}), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Shutdown(context.Background()) })
	body, err := proto.Marshal(&counterv1.GetResponse{Count: 7})
	if err != nil {
		b.Fatal(err)
	}
	limited := func(handler http.Handler) *http.Server {
		s := server.newHTTPServer()
		s.Handler = handler
		return s
	}
	b.Run("bare", func(b *testing.B) { benchmarkHTTP(b, &http.Server{Handler: mux}) }) //nolint:gosec // as bare as can be
	b.Run("limits", func(b *testing.B) { benchmarkHTTP(b, limited(mux)) })             // bare, with the server's limits
	b.Run("edge", func(b *testing.B) {
		benchmarkHTTP(b, limited(edgeOver(server, &instant{id: store.NewID(1), body: body})))
	})
	b.Run("full", func(b *testing.B) { benchmarkHTTP(b, limited(server.Handler())) })
}

func benchmarkHTTP(b *testing.B, server *http.Server) {
	b.Helper()
	listener, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	defer func() {
		_ = server.Close()
		<-served
	}()
	conn, err := new(net.Dialer).DialContext(b.Context(), "tcp", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	request := []byte("POST " + counterv1connect.CounterGetProcedure + " HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/proto\r\n" +
		"Connect-Protocol-Version: 1\r\nAccept-Encoding: gzip\r\nUser-Agent: bench\r\nActor-Key: org/general\r\nContent-Length: 2\r\n\r\n\x08\x01")
	response := make([]byte, 4096)
	begun := processorTime(b)
	defer func() { b.ReportMetric(float64(processorTime(b)-begun)/float64(b.N), "cpu-ns/op") }()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		n, err := conn.Read(response)
		if err != nil || !bytes.HasPrefix(response[:n], []byte("HTTP/1.1 200")) {
			b.Fatalf("%s: %v", response[:n], err)
		}
	}
}

// discard is a response that goes nowhere.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }
