// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
	"github.com/troupe-dev/troupe/gen/go/agent/v1/agentv1connect"
	"google.golang.org/protobuf/proto"
)

// talker is the actor of the tests about what runs beside an actor. Its state is a
// count; what it does are fields of the bundle.
type talker struct {
	agentv1connect.UnimplementedAssistantHandler
	actors.Actor[*agentv1.AssistantState, *agentv1.AssistantEvent]

	kit *talkers
}

// Ask is a streaming action.
func (a *talker) Ask(ctx context.Context, req *agentv1.AskRequest, stream agentv1connect.AssistantAskServerStream) error {
	return a.kit.ask(ctx, a, func(token string) error {
		return stream.Send(&agentv1.AskResponse{Token: token + req.GetText()})
	})
}

// Join is a streaming action that is declared NO_SIDE_EFFECTS.
func (a *talker) Join(ctx context.Context, _ *agentv1.JoinRequest, _ agentv1connect.AssistantJoinServerStream) error {
	return a.kit.join(ctx, a)
}

// History reads the count.
func (a *talker) History(context.Context, *agentv1.HistoryRequest) (*agentv1.HistoryResponse, error) {
	return &agentv1.HistoryResponse{Messages: []*agentv1.Message{{Number: a.State().GetCount()}}}, nil
}

// Cancel is an action that writes.
func (a *talker) Cancel(ctx context.Context, _ *agentv1.CancelRequest) (*agentv1.CancelResponse, error) {
	return new(agentv1.CancelResponse), a.kit.act(ctx, a)
}

// count adds one to the count, in a turn.
func (a *talker) count(context.Context) error {
	a.State().Count++
	return nil
}

// talkers is a fresh host of talkers, for one test.
type talkers struct {
	*actors.Host

	tb      testing.TB
	logs    *logBuffer
	ask     func(ctx context.Context, a *talker, send func(token string) error) error
	join    func(ctx context.Context, a *talker) error
	act     func(ctx context.Context, a *talker) error
	methods map[string]*actors.Method
}

func newTalkers(tb testing.TB, s store.Store, options ...actors.Option) *talkers {
	tb.Helper()
	k := &talkers{tb: tb, logs: new(logBuffer), methods: make(map[string]*actors.Method)}
	k.act = func(ctx context.Context, a *talker) error { return a.count(ctx) }
	if s == nil {
		s = memory.New(memory.Options{})
	}
	registry := actors.NewRegistry()
	actors.Register(registry, agentv1connect.RegisterAssistantHandler, func() *talker { return &talker{kit: k} }, options...)
	host, err := actors.NewHost(actors.Config{Registry: registry, Store: s, Logger: slog.New(slog.NewTextHandler(k.logs, nil))})
	if err != nil {
		tb.Fatal(err)
	}
	k.Host = host
	for _, m := range host.Methods() {
		k.methods[m.Spec.Procedure] = m
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := k.Shutdown(ctx); err != nil {
			tb.Errorf("Shutdown: %v", err)
		}
	})
	return k
}

func (k *talkers) to(procedure string, request proto.Message) *actors.Call {
	return &actors.Call{
		Target:  actors.Target{Address: store.Address{Namespace: "default", Type: agentv1connect.AssistantName, Key: "a"}},
		Method:  k.methods[procedure],
		Request: request,
		Codec:   binary{},
	}
}

// mustCount reads the count and compares it.
func (k *talkers) mustCount(want int64) {
	k.tb.Helper()
	reply, err := k.Call(k.tb.Context(), k.to(agentv1connect.AssistantHistoryProcedure, new(agentv1.HistoryRequest)))
	if err != nil {
		k.tb.Fatalf("History: %v", err)
	}
	if got := decode(k.tb, reply, err, new(agentv1.HistoryResponse)).GetMessages()[0].GetNumber(); got != want {
		k.tb.Fatalf("the count is %d, want %d", got, want)
	}
}

// do runs the writing action.
func (k *talkers) do(ctx context.Context) error {
	_, err := k.Call(ctx, k.to(agentv1connect.AssistantCancelProcedure, new(agentv1.CancelRequest)))
	return err
}

func (k *talkers) mustDo() {
	k.tb.Helper()
	if err := k.do(k.tb.Context()); err != nil {
		k.tb.Fatalf("Cancel: %v", err)
	}
}

func (k *talkers) destroy() {
	k.tb.Helper()
	if _, err := k.Destroy(k.tb.Context(), k.to(agentv1connect.AssistantCancelProcedure, nil).Target); err != nil {
		k.tb.Fatalf("Destroy: %v", err)
	}
}

// awake reports whether the actor is in memory.
func (k *talkers) awake() bool {
	k.tb.Helper()
	d, _, err := k.Ensure(k.tb.Context(), actors.Target{
		Address: store.Address{Namespace: "default", Type: agentv1connect.AssistantName, Key: "a"}, Resolve: actors.Get,
	}, nil)
	if err != nil {
		k.tb.Fatal(err)
	}
	return d.Awake
}

// listener is the peer of a streaming action.
type listener struct {
	tokens chan string
	ended  chan error
	cancel context.CancelFunc
	failed error // what Send returns
}

func (l *listener) SendHeaders() error { return nil }

func (l *listener) Send(message proto.Message) error {
	if l.failed != nil {
		return l.failed
	}
	l.tokens <- message.(*agentv1.AskResponse).GetToken()
	return nil
}

// stream begins a streaming action that lives until it ends by itself or l.cancel.
func (k *talkers) stream(procedure string, request proto.Message, edit func(*actors.Call, *listener)) *listener {
	k.tb.Helper()
	l := &listener{tokens: make(chan string, 100), ended: make(chan error, 1)}
	call := k.to(procedure, request)
	if edit != nil {
		edit(call, l)
	}
	ctx, cancel := context.WithCancel(k.tb.Context())
	l.cancel = cancel
	go func() {
		s, err := k.Stream(ctx, call)
		if err == nil {
			err = s.Serve(ctx, l)
			s.Close()
		}
		l.ended <- err
	}()
	return l
}

func (k *talkers) asks(text string) *listener {
	k.tb.Helper()
	return k.stream(agentv1connect.AssistantAskProcedure, &agentv1.AskRequest{Text: text}, nil)
}

// wantReason compares what a caller can tell of an error besides its outcome.
func wantReason(tb testing.TB, err error, code connect.Code, reason string) {
	tb.Helper()
	if err == nil {
		tb.Fatalf("no error, want %s", reason)
	}
	if got := failureOf(tb, err); got.code != code || got.reason != reason {
		tb.Fatalf("the error is %v, want %v %s", err, code, reason)
	}
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
