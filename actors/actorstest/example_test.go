// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actorstest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/actorstest"
	"github.com/troupe-dev/troupe/actors/store"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// Each test of this file shows one thing that a test of actors does.

func TestExampleAction(t *testing.T) {
	t.Parallel()
	srv := actorstest.New(t, counters(new(life)), actorstest.Namespaces("default", "other"))
	visits := counterv1connect.NewCounterClient(srv.GetOrCreate("acme", "visits"))

	reply, err := visits.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 3})
	if err != nil || reply.GetCount() != 3 {
		t.Errorf("Increment: %v, %v", reply, err)
	}
	_, err = visits.Increment(t.Context(), &counterv1.IncrementRequest{}) // the schema's rules hold
	wantError(t, err, connect.CodeInvalidArgument, notExecuted)
	_, err = counterv1connect.NewCounterClient(srv.Get("nobody")).Get(t.Context(), &counterv1.GetRequest{})
	wantError(t, err, connect.CodeNotFound, notExecuted)
	wantCount(t, counterv1connect.NewCounterClient(srv.Dial(troupe.WithNamespace("other")).GetOrCreate("acme", "visits")), 0)
}

func TestExampleRollback(t *testing.T) {
	t.Parallel()
	_, visits, _ := setup(t)
	mustAdd(t, visits, 3, 3)
	_, err := visits.Fail(t.Context(), &counterv1.FailRequest{Amount: 100})
	wantError(t, err, connect.CodeFailedPrecondition, notExecuted)
	if troupe.Reason(err) != "always_fails" {
		t.Errorf("the reason is %q", troupe.Reason(err))
	}
	wantCount(t, visits, 3)
}

func TestExampleEvents(t *testing.T) {
	t.Parallel()
	_, visits, _ := setup(t)
	stream, err := visits.Subscribe(t.Context(), &counterv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	opened, err := stream.Receive() // once it is here, nothing is missed
	if err != nil || opened.GetInfo().GetOpened() == nil {
		t.Fatalf("the first frame is %v, %v", opened, err)
	}
	mustAdd(t, visits, 3, 3)
	event, err := stream.Receive()
	if err != nil || event.GetCountChanged().GetCount() != 3 || event.GetInfo().GetHead() != 1 {
		t.Errorf("the event is %v, %v", event, err)
	}
}

func TestExampleSleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, visits, life := setup(t)
		mustAdd(t, visits, 3, 3)
		pass(time.Minute) // longer than the counters' SleepAfter
		life.want(t, 1, 1)
		mustAdd(t, visits, 1, 4)
		life.want(t, 2, 1)
	})
}

func TestExampleHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, visits, _ := setup(t)
		stream, err := visits.Subscribe(t.Context(), &counterv1.SubscribeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stream.Close() }()
		begun := time.Now()
		for range 3 { // opened, and two heartbeats
			if _, err := stream.Receive(); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("two heartbeats took %v", took)
		}
	})
}

func TestExampleRestart(t *testing.T) {
	t.Parallel()
	srv, visits, life := setup(t, actorstest.Embedded())
	mustAdd(t, visits, 3, 3)
	srv.Restart() // as kill -9 does
	mustAdd(t, visits, 1, 4)
	srv.Stop() // as SIGTERM does
	life.want(t, 2, 1)
	_, err := visits.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
	wantError(t, err, connect.CodeUnavailable, unknown)
	srv.Restart()
	mustAdd(t, visits, 1, 5)
}

func TestExampleFailedCommit(t *testing.T) {
	t.Parallel()
	srv, visits, _ := setup(t)
	mustAdd(t, visits, 3, 3)
	once := counterv1connect.NewCounterClient(srv.Dial(troupe.WithoutRetries()).GetOrCreate("acme", "visits"))

	srv.FailNextCommit(nil)
	_, err := once.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
	wantError(t, err, connect.CodeAborted, notExecuted)
	wantCount(t, visits, 3)

	srv.FailNextCommit(store.ErrUnknown)
	_, err = once.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
	wantError(t, err, connect.CodeUnavailable, unknown)
	wantCount(t, visits, 3)

	srv.LoseNextCommit()
	_, err = once.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
	wantError(t, err, connect.CodeUnavailable, unknown)
	wantCount(t, visits, 4)

	srv.FailNextCommit(nil)
	mustAdd(t, visits, 1, 5) // the stock client tries again
}

func TestExampleCrash(t *testing.T) {
	t.Parallel()
	srv, visits, life := setup(t)
	mustAdd(t, visits, 3, 3)
	once := counterv1connect.NewCounterClient(srv.Dial(troupe.WithoutRetries()).GetOrCreate("acme", "visits"))

	srv.CrashBeforeCommit()
	_, err := once.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
	wantError(t, err, connect.CodeUnavailable, unknown)
	wantCount(t, visits, 3)

	srv.CrashAfterCommit()
	_, err = once.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
	wantError(t, err, connect.CodeUnavailable, unknown)
	wantCount(t, visits, 4)
	life.want(t, 3, 0)

	// The stock client sends the call again under its idempotency key: one effect.
	srv.CrashAfterCommit()
	mustAdd(t, visits, 1, 5)
	wantCount(t, visits, 5)
}

func TestExampleReadOnlyWrite(t *testing.T) {
	t.Parallel()
	_, visits, life := setup(t)
	mustAdd(t, visits, 3, 3)
	life.careless.Store(true)
	_, err := visits.Get(t.Context(), &counterv1.GetRequest{})
	wantError(t, err, connect.CodeInternal, notExecuted)
	if troupe.Reason(err) != "read_only_write" {
		t.Errorf("the reason is %q: %v", troupe.Reason(err), err)
	}
	life.careless.Store(false)
	wantCount(t, visits, 3)
}
