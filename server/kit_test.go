// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter is the actor of these tests.
type counter struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]
}

func (c *counter) Increment(_ context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	c.State().Count += req.GetAmount()
	c.Broadcast(&counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{
		CountChanged: &counterv1.CountChanged{Count: c.State().GetCount()},
	}})
	return &counterv1.IncrementResponse{Count: c.State().GetCount()}, nil
}

func (c *counter) Get(ctx context.Context, _ *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	if info, ok := connect.CallInfoForServerContext(ctx); ok {
		info.ResponseHeader().Set("x-echo", info.RequestHeader().Get("x-say"))
	}
	return &counterv1.GetResponse{Count: c.State().GetCount()}, nil
}

func (c *counter) Fail(_ context.Context, req *counterv1.FailRequest) (*counterv1.FailResponse, error) {
	if req.GetPanic() {
		panic("the secret of the counter")
	}
	return nil, actors.Errorf(connect.CodeFailedPrecondition, "on_purpose", "failed as asked").With("asked", "yes")
}

func newRegistry() *actors.Registry {
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) },
		actors.OnCreate(func(c *counter, _ context.Context, input *counterv1.CounterInput) error {
			c.State().Count = input.GetInitial()
			return nil
		}))
	return registry
}

// bundle is a server of counters on a free port.
type bundle struct {
	*Server
	url  string
	h1   *http.Client
	h2   *http.Client // speaks HTTP/2 without TLS
	logs *logBuffer
}

// setup starts a server; change may alter its configuration first.
func setup(t *testing.T, change func(*Config)) *bundle {
	t.Helper()
	logs := new(logBuffer)
	cfg := Config{
		Registry: newRegistry(),
		Store:    memory.New(memory.Options{}),
		Listen:   "127.0.0.1:0",
		Logger:   slog.New(slog.NewTextHandler(logs, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	server, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	plain := new(http.Protocols)
	plain.SetUnencryptedHTTP2(true)
	b := &bundle{
		Server: server, url: "http://" + listener.Addr().String(), logs: logs,
		h1: &http.Client{Transport: &http.Transport{}},
		h2: &http.Client{Transport: &http.Transport{Protocols: plain}},
	}
	t.Cleanup(func() {
		b.h1.CloseIdleConnections()
		b.h2.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := cfg.Store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return b
}

// subscribe opens a stream and reads its first frame.
func (b *bundle) subscribe(t *testing.T, key string) counterv1connect.CounterSubscribeClientStream {
	t.Helper()
	ctx, _ := at(t.Context(), "actor-key", key)
	stream, err := b.counters().Subscribe(ctx, &counterv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Close() })
	if _, err := stream.Receive(); err != nil {
		t.Fatal(err)
	}
	return stream
}

// do sends a request and reads the whole answer. A body makes it a POST of JSON.
func do(t *testing.T, client *http.Client, url, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(request.Header, header)
	request.Host = header.Get("Host")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(data)
}

// dial opens a plain connection to the server.
func (b *bundle) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// at returns a context that puts metadata onto one call.
func at(ctx context.Context, pairs ...string) (context.Context, *connect.CallInfo) {
	ctx, info := connect.NewClientContext(ctx)
	for pair := range slices.Chunk(pairs, 2) {
		info.RequestHeader().Set(pair[0], pair[1])
	}
	return ctx, info
}

// logBuffer is a log that a test can read while it grows.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// failure is what a caller sees of an error.
type failure struct {
	status  int // HTTP
	code    string
	message string
	reason  string
	outcome troupev1.Outcome_Outcome
	id      string // correlation
	retry   bool
	details []*anypb.Any
}

// protocols are the ways in which a raw request reaches a unary method.
var protocols = []struct {
	name, contentType string
	grpc, json        bool
}{
	{name: "connect-json", contentType: "application/json", json: true},
	{name: "connect-proto", contentType: "application/proto"},
	{name: "grpc", contentType: "application/grpc", grpc: true},
	{name: "grpc-web", contentType: "application/grpc-web+proto", grpc: true},
}

// post sends one raw request and reads whatever error comes back.
func (b *bundle) post(t *testing.T, path, contentType string, header http.Header, body []byte) failure {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.URL.Opaque = "//" + request.URL.Host + path // as it is, encoded or not
	for name, values := range header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	client := b.h1
	if contentType == "application/grpc" {
		client = b.h2
		request.URL.Opaque = ""
		if request.URL, err = request.URL.Parse(b.url + path); err != nil {
			t.Fatal(err)
		}
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return readFailure(t, response, data)
}

func readFailure(t *testing.T, response *http.Response, data []byte) failure {
	t.Helper()
	f := failure{status: response.StatusCode}
	trailer := response.Trailer
	if response.Header.Get("Grpc-Status") != "" {
		trailer = response.Header
	}
	if grpcWeb := bytes.LastIndexByte(data, 0x80); response.Header.Get("Content-Type") == "application/grpc-web+proto" && grpcWeb >= 0 && len(data) > grpcWeb+5 {
		trailer = http.Header{}
		for line := range bytes.SplitSeq(data[grpcWeb+5:], []byte("\r\n")) {
			if name, value, ok := bytes.Cut(line, []byte(":")); ok {
				trailer.Add(string(name), string(bytes.TrimSpace(value)))
			}
		}
	}
	switch text := trailer.Get("Grpc-Status"); {
	case text == "0":
		return f
	case text != "":
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		f.code, f.message = connect.Code(n).String(), trailer.Get("Grpc-Message")
		var status rpcstatus.Status
		decoded, err := connect.DecodeBinaryHeader(trailer.Get("Grpc-Status-Details-Bin"))
		if err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(decoded, &status); err != nil {
			t.Fatal(err)
		}
		f.details = status.GetDetails()
	case response.StatusCode != http.StatusOK && response.Header.Get("Content-Type") == "application/json":
		var wire struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Details []struct {
				Type  string `json:"type"`
				Value string `json:"value"`
			} `json:"details"`
		}
		if err := json.Unmarshal(data, &wire); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		f.code, f.message = wire.Code, wire.Message
		for _, d := range wire.Details {
			value, err := connect.DecodeBinaryHeader(d.Value)
			if err != nil {
				t.Fatal(err)
			}
			f.details = append(f.details, &anypb.Any{TypeUrl: "type.googleapis.com/" + d.Type, Value: value})
		}
	}
	for _, detail := range f.details {
		message, err := detail.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		switch m := message.(type) {
		case *errdetails.ErrorInfo:
			f.reason = m.GetReason()
		case *errdetails.RetryInfo:
			f.retry = true
		case *troupev1.Outcome:
			f.outcome, f.id = m.GetOutcome(), m.GetCorrelationId()
		}
	}
	return f
}

// envelope frames a message for a streaming protocol.
func envelope(data []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...)
}
