// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// counter is the actor that most tests use. Its hooks are fields of the bundle, so
// that each test says what its actor does.
type counter struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]

	kit *kit
}

func (c *counter) Increment(ctx context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	c.State().Count += req.GetAmount()
	if c.kit.increment != nil {
		if err := c.kit.increment(ctx, c, req); err != nil {
			return nil, err
		}
	}
	c.changed()
	return &counterv1.IncrementResponse{Count: c.State().GetCount()}, nil
}

func (c *counter) Get(ctx context.Context, _ *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	if c.kit.get != nil {
		if err := c.kit.get(ctx, c); err != nil {
			return nil, err
		}
	}
	return &counterv1.GetResponse{Count: c.State().GetCount()}, nil
}

func (c *counter) Fail(_ context.Context, req *counterv1.FailRequest) (*counterv1.FailResponse, error) {
	c.State().Count += req.GetAmount()
	c.changed()
	if req.GetPanic() {
		panic("a panic that the test asked for")
	}
	return nil, actors.Errorf(connect.CodeFailedPrecondition, "always_fails", "it always fails").With("amount", "given")
}

func (c *counter) changed() {
	c.Broadcast(changed(c.State().GetCount()))
}

func changed(count int64) *counterv1.CounterEvent {
	return &counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{CountChanged: &counterv1.CountChanged{Count: count}}}
}

// depth runs the tests with so many turns of an actor ahead of the disk; go test
// ./actors -depth 1.
var depth = flag.Int("depth", 0, "MaxUndurableTurns of every test; 0 means the default")

// needsDepth skips a test of turns that run ahead of the disk where too few may.
func needsDepth(t *testing.T, n int) {
	t.Helper()
	if *depth > 0 && *depth < n {
		t.Skipf("needs %d turns ahead of the disk", n)
	}
}

// kit is a fresh host with counters, for one test.
type kit struct {
	*actors.Host

	tb        testing.TB
	store     store.Store
	increment func(context.Context, *counter, *counterv1.IncrementRequest) error
	get       func(context.Context, *counter) error
	methods   map[string]*actors.Method
	configure func(*actors.Config) // unless nil, changes the host's settings
}

// newKit starts a host over s (nil means a new store in memory).
func newKit(tb testing.TB, s store.Store, options ...actors.Option) *kit {
	tb.Helper()
	return startKit(tb, &kit{store: s}, options...)
}

// startKit is newKit for a kit whose actors may run at once.
func startKit(tb testing.TB, k *kit, options ...actors.Option) *kit {
	tb.Helper()
	k.tb, k.methods = tb, make(map[string]*actors.Method)
	if k.store == nil {
		k.store = memory.New(memory.Options{})
	}
	if *depth > 0 {
		options = append([]actors.Option{actors.MaxUndurableTurns(*depth)}, options...)
	}
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return &counter{kit: k} }, options...)
	_, isBenchmark := tb.(*testing.B)
	cfg := actors.Config{
		Registry:   registry,
		Store:      k.store,
		Logger:     slog.New(slog.DiscardHandler),
		Heartbeat:  15 * time.Second,
		CheckReads: !isBenchmark,
	}
	if k.configure != nil {
		k.configure(&cfg)
	}
	host, err := actors.NewHost(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	k.Host = host
	for _, m := range host.Methods() {
		k.methods[m.Spec.Procedure] = m
	}
	tb.Cleanup(k.stop)
	return k
}

func (k *kit) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := k.Shutdown(ctx); err != nil {
		k.tb.Errorf("Shutdown: %v", err)
	}
}

// to addresses a counter.
func (k *kit) to(procedure, key string, request proto.Message) *actors.Call {
	return &actors.Call{
		Target:  actors.Target{Address: store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: key}},
		Method:  k.methods[procedure],
		Request: request,
		Codec:   binary{},
	}
}

func (k *kit) add(ctx context.Context, key string, amount int64) (int64, error) {
	reply, err := k.Call(ctx, k.to(counterv1connect.CounterIncrementProcedure, key, &counterv1.IncrementRequest{Amount: amount}))
	return decode(k.tb, reply, err, new(counterv1.IncrementResponse)).GetCount(), err
}

func (k *kit) count(ctx context.Context, key string) (int64, error) {
	reply, err := k.Call(ctx, k.to(counterv1connect.CounterGetProcedure, key, new(counterv1.GetRequest)))
	return decode(k.tb, reply, err, new(counterv1.GetResponse)).GetCount(), err
}

func (k *kit) fail(ctx context.Context, key string, amount int64, panics bool) error {
	_, err := k.Call(ctx, k.to(counterv1connect.CounterFailProcedure, key, &counterv1.FailRequest{Amount: amount, Panic: panics}))
	return err
}

// mustAdd and mustCount are add and count for calls that have to go well.
func (k *kit) mustAdd(key string, amount int64) int64 {
	k.tb.Helper()
	n, err := k.add(k.tb.Context(), key, amount)
	if err != nil {
		k.tb.Fatalf("Increment: %v", err)
	}
	return n
}

func (k *kit) mustCount(key string, want int64) {
	k.tb.Helper()
	got, err := k.count(k.tb.Context(), key)
	if err != nil {
		k.tb.Fatalf("Get: %v", err)
	}
	if got != want {
		k.tb.Fatalf("the count is %d, want %d", got, want)
	}
}

func decode[M proto.Message](tb testing.TB, reply actors.Reply, err error, message M) M {
	tb.Helper()
	if err == nil {
		if err := proto.Unmarshal(reply.Body, message); err != nil {
			tb.Fatalf("decode the reply: %v", err)
		}
	}
	return message
}

// binary and json are the codecs of the tests.
type binary struct{}

func (binary) Name() string { return "proto" }

func (binary) Append(dst []byte, message proto.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(dst, message)
}

type json struct{}

func (json) Name() string { return "json" }

func (json) Append(dst []byte, message proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{}.MarshalAppend(dst, message)
}

// failure is what a caller can tell of an error.
type failure struct {
	code    connect.Code
	reason  string
	outcome troupev1.Outcome_Outcome
}

func failureOf(tb testing.TB, err error) failure {
	tb.Helper()
	wire, ok := errors.AsType[*connect.Error](err)
	if !ok {
		tb.Fatalf("%v is a %T, not a *connect.Error", err, err)
	}
	f := failure{code: wire.Code()}
	for _, detail := range wire.Details() {
		message, err := connectproto.UnmarshalErrorDetail(detail)
		if err != nil {
			tb.Fatal(err)
		}
		switch message := message.(type) {
		case *errdetails.ErrorInfo:
			f.reason = message.GetReason()
		case *troupev1.Outcome:
			f.outcome = message.GetOutcome()
		}
	}
	return f
}

func wantFailure(tb testing.TB, err error, want failure) {
	tb.Helper()
	if err == nil {
		tb.Fatalf("no error, want %v", want)
	}
	if got := failureOf(tb, err); got != want {
		tb.Fatalf("the error is %v (%v), want %v", got, err, want)
	}
}

const (
	notExecuted = troupev1.Outcome_OUTCOME_NOT_EXECUTED
	unknown     = troupev1.Outcome_OUTCOME_UNKNOWN
	committed   = troupev1.Outcome_OUTCOME_COMMITTED
)

// recorder is a sink that keeps what it gets.
type recorder struct {
	frames chan *counterv1.CounterEvent
	opened chan *troupev1.ConnectionOpened
	closed chan *troupev1.ConnectionClosing
	ended  chan error

	closingInfo *troupev1.EventInfo // set before closed and ended
	gate        chan struct{}       // unless nil, each Send takes a token first
	cancel      context.CancelFunc
}

func (r *recorder) Send(frame *actors.Frame, _ bool) error {
	if r.gate != nil {
		<-r.gate
	}
	encoded, err := frame.Encoded(binary{})
	if err != nil {
		return err
	}
	event := new(counterv1.CounterEvent)
	if err := proto.Unmarshal(encoded, event); err != nil {
		return err
	}
	switch control := event.GetInfo().GetControl().(type) {
	case *troupev1.EventInfo_Opened:
		r.opened <- control.Opened
	case *troupev1.EventInfo_Closing:
		r.closingInfo = event.GetInfo()
		r.closed <- control.Closing
	default:
		r.frames <- event
	}
	return nil
}

// subscribe opens a connection that lives until the test ends or r.cancel.
func (k *kit) subscribe(key string, edit func(*actors.Call, *recorder)) *recorder {
	k.tb.Helper()
	r := &recorder{
		frames: make(chan *counterv1.CounterEvent, 2000),
		opened: make(chan *troupev1.ConnectionOpened, 1),
		closed: make(chan *troupev1.ConnectionClosing, 1),
		ended:  make(chan error, 1),
	}
	call := k.to(counterv1connect.CounterSubscribeProcedure, key, new(counterv1.SubscribeRequest))
	if edit != nil {
		edit(call, r)
	}
	ctx, cancel := context.WithCancel(k.tb.Context())
	r.cancel = cancel
	go func() { r.ended <- k.follow(ctx, call, r) }()
	return r
}

// await takes one value or fails the test.
func await[T any](tb testing.TB, what string, c <-chan T) T {
	tb.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		tb.Fatalf("no %s within 10 s", what)
		panic("unreachable")
	}
}

// follow is a subscription from its beginning to its end.
func (k *kit) follow(ctx context.Context, call *actors.Call, sink actors.Sink) error {
	sub, err := k.Subscribe(ctx, call)
	if err != nil {
		return err
	}
	defer sub.Close()
	return sub.Feed(ctx, sink)
}

// pass lets the fake time of a synctest bubble pass.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // no time passes outside the bubble
}
