// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actorstest_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/actorstest"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter is the actor under test.
type counter struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]

	life *life
}

// life is what a test sees of the counter's hooks, and its mistakes.
type life struct {
	wakes, sleeps atomic.Int64
	careless      atomic.Bool // Get changes the state
}

func (c *counter) Increment(_ context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	c.State().Count += req.GetAmount()
	c.Broadcast(&counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{
		CountChanged: &counterv1.CountChanged{Count: c.State().GetCount()},
	}})
	return &counterv1.IncrementResponse{Count: c.State().GetCount()}, nil
}

func (c *counter) Get(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	if c.life.careless.Load() {
		c.State().Count++
	}
	return &counterv1.GetResponse{Count: c.State().GetCount()}, nil
}

func (c *counter) Fail(_ context.Context, req *counterv1.FailRequest) (*counterv1.FailResponse, error) {
	c.State().Count += req.GetAmount()
	return nil, actors.Errorf(connect.CodeFailedPrecondition, "always_fails", "it always fails")
}

// counters returns a registry of counters.
func counters(l *life) *actors.Registry {
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return &counter{life: l} },
		actors.SleepAfter(30*time.Second),
		actors.OnWake(func(*counter, context.Context) error { l.wakes.Add(1); return nil }),
		actors.OnSleep(func(*counter, context.Context) error { l.sleeps.Add(1); return nil }))
	return registry
}

// setup returns a server and a client of one of its counters.
func setup(t *testing.T, options ...actorstest.Option) (*actorstest.Server, counterv1connect.CounterClient, *life) {
	t.Helper()
	l := new(life)
	srv := actorstest.New(t, counters(l), options...)
	return srv, counterv1connect.NewCounterClient(srv.GetOrCreate("acme", "visits")), l
}

func mustAdd(t *testing.T, c counterv1connect.CounterClient, amount, want int64) {
	t.Helper()
	reply, err := c.Increment(t.Context(), &counterv1.IncrementRequest{Amount: amount})
	if err != nil {
		t.Fatal(err)
	}
	if reply.GetCount() != want {
		t.Fatalf("the count is %d, want %d", reply.GetCount(), want)
	}
}

func wantCount(t *testing.T, c counterv1connect.CounterClient, want int64) {
	t.Helper()
	reply, err := c.Get(t.Context(), &counterv1.GetRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if reply.GetCount() != want {
		t.Fatalf("the count is %d, want %d", reply.GetCount(), want)
	}
}

// want fails the test unless the hooks have run so often.
func (l *life) want(t *testing.T, wakes, sleeps int64) {
	t.Helper()
	if l.wakes.Load() != wakes || l.sleeps.Load() != sleeps {
		t.Errorf("%d wakes and %d sleeps, want %d and %d", l.wakes.Load(), l.sleeps.Load(), wakes, sleeps)
	}
}

// wantError fails the test unless err has a code and an outcome.
func wantError(t *testing.T, err error, code connect.Code, outcome troupev1.Outcome_Outcome) {
	t.Helper()
	if connect.CodeOf(err) != code || troupe.OutcomeOf(err) != outcome {
		t.Fatalf("the error is %v with %v, want %v with %v", err, troupe.OutcomeOf(err), code, outcome)
	}
}

const (
	notExecuted = troupev1.Outcome_OUTCOME_NOT_EXECUTED
	unknown     = troupev1.Outcome_OUTCOME_UNKNOWN
)

// pass lets the fake time of a synctest bubble pass.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // no time passes outside the bubble
}
