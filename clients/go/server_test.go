// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeServer is a Troupe server as far as a client can tell: it records what each
// request carries and answers as the test says.
type fakeServer struct {
	increment func(context.Context, *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error)
	get       func(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error)
	send      func(context.Context, *chatv1.SendRequest) (*chatv1.SendResponse, error)
	subscribe func(context.Context, *chatv1.SubscribeRequest, chatv1connect.ChatRoomSubscribeServerStream) error

	url string

	mu    sync.Mutex
	calls []call // guarded by mu
}

// call is what one request carried.
type call struct {
	procedure string
	header    http.Header
	proto     string
}

type counterSide struct {
	counterv1connect.UnimplementedCounterHandler
	server *fakeServer
}

func (s counterSide) Increment(ctx context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	return s.server.increment(ctx, req)
}

func (s counterSide) Get(ctx context.Context, req *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	return s.server.get(ctx, req)
}

type chatSide struct {
	chatv1connect.UnimplementedChatRoomHandler
	server *fakeServer
}

func (s chatSide) Send(ctx context.Context, req *chatv1.SendRequest) (*chatv1.SendResponse, error) {
	return s.server.send(ctx, req)
}

func (s chatSide) Subscribe(ctx context.Context, req *chatv1.SubscribeRequest, st chatv1connect.ChatRoomSubscribeServerStream) error {
	return s.server.subscribe(ctx, req, st)
}

type lifecycleSide struct {
	troupev1connect.UnimplementedActorServiceHandler
}

func (lifecycleSide) Resolve(_ context.Context, req *troupev1.ResolveRequest) (*troupev1.ResolveResponse, error) {
	return &troupev1.ResolveResponse{Id: strings.Join(append([]string{req.GetAddress().GetNamespace(), req.GetAddress().GetType()}, req.GetAddress().GetKey()...), "|")}, nil
}

// start serves s until the test ends.
func (s *fakeServer) start(t testing.TB) *fakeServer {
	t.Helper()
	ts := httptest.NewUnstartedServer(s.handler())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	ts.Config.Protocols = protocols
	ts.Start()
	t.Cleanup(ts.Close)
	s.url = ts.URL
	return s
}

func (s *fakeServer) handler() http.Handler {
	server := connect.NewServer(s.record)
	counterv1connect.RegisterCounterHandler(server, counterSide{server: s})
	chatv1connect.RegisterChatRoomHandler(server, chatSide{server: s})
	troupev1connect.RegisterActorServiceHandler(server, lifecycleSide{})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	return mux
}

func (s *fakeServer) record(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		header := make(http.Header)
		if info, ok := connect.CallInfoForServerContext(ctx); ok {
			maps.Insert(header, info.RequestHeader().All())
		}
		c := call{procedure: spec.Procedure, header: header}
		if info, ok := connecthttp.ServerInfoForContext(ctx); ok {
			c.proto = info.RequestProto()
		}
		s.mu.Lock()
		s.calls = append(s.calls, c)
		s.mu.Unlock()
		return next(ctx, spec, stream)
	}
}

// seen returns the requests so far.
func (s *fakeServer) seen() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call(nil), s.calls...)
}

// failure builds an error with details.
func failure(code connect.Code, message string, details ...proto.Message) *connect.Error {
	err := connect.NewError(code, message)
	for _, d := range details {
		detail, marshalErr := connectproto.NewErrorDetail(d)
		if marshalErr != nil {
			panic(marshalErr)
		}
		err = err.WithDetail(detail)
	}
	return err
}

func outcome(o troupev1.Outcome_Outcome) *troupev1.Outcome { return &troupev1.Outcome{Outcome: o} }

func retryIn(d time.Duration) *errdetails.RetryInfo {
	return &errdetails.RetryInfo{RetryDelay: durationpb.New(d)}
}

const (
	notExecuted = troupev1.Outcome_OUTCOME_NOT_EXECUTED
	committed   = troupev1.Outcome_OUTCOME_COMMITTED
	unknown     = troupev1.Outcome_OUTCOME_UNKNOWN
)
