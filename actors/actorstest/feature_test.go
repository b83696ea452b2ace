// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actorstest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/actorstest"
	troupe "github.com/troupe-dev/troupe/clients/go"
	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
	"github.com/troupe-dev/troupe/gen/go/agent/v1/agentv1connect"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// Each test of this file shows how to test one feature of actors.

// account is a counter with another Increment.
type account struct {
	counter

	increment func(ctx context.Context, a *account, amount int64) error
}

func (a *account) Increment(ctx context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	if err := a.increment(ctx, a, req.GetAmount()); err != nil {
		return nil, err
	}
	return &counterv1.IncrementResponse{Count: a.State().GetCount()}, nil
}

// accounts returns a server of accounts.
func accounts(t *testing.T, increment func(ctx context.Context, a *account, amount int64) error) *actorstest.Server {
	t.Helper()
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *account {
		return &account{counter: counter{life: new(life)}, increment: increment}
	})
	return actorstest.New(t, registry)
}

func TestExampleKV(t *testing.T) {
	t.Parallel()
	srv := accounts(t, func(ctx context.Context, a *account, amount int64) error {
		if err := a.KV().Put([]byte{byte(amount)}, []byte("seen")); err != nil {
			return err
		}
		pairs, err := a.KV().List(ctx, actors.Range{}) // with what this turn has written
		a.State().Count = int64(len(pairs))
		if amount == 100 {
			return errors.New("and nothing of this is kept")
		}
		return err
	})
	visits := counterv1connect.NewCounterClient(srv.GetOrCreate("acme"))
	mustAdd(t, visits, 1, 1)
	mustAdd(t, visits, 2, 2)
	_, err := visits.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 100})
	wantError(t, err, connect.CodeInternal, notExecuted)
	srv.Restart()
	mustAdd(t, visits, 2, 2)
	mustAdd(t, visits, 3, 3)
}

func TestExampleSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := accounts(t, func(_ context.Context, a *account, amount int64) error {
			a.State().Count += amount
			if amount == 1 {
				return nil
			}
			_, err := a.Schedule().After(time.Hour, counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 1})
			return err
		})
		visits := counterv1connect.NewCounterClient(srv.GetOrCreate("acme"))
		mustAdd(t, visits, 10, 10)
		pass(30 * time.Minute)
		wantCount(t, visits, 10)
		srv.Restart() // a schedule is stored
		pass(31 * time.Minute)
		wantCount(t, visits, 11)
	})
}

func TestExampleOutbox(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := accounts(t, func(_ context.Context, a *account, amount int64) error {
			a.State().Count += amount
			if a.Key()[0] == "total" {
				return nil
			}
			return a.Outbox().Send(actors.Peer{Key: []string{"total"}}, counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: amount})
		})
		total := counterv1connect.NewCounterClient(srv.GetOrCreate("total"))
		mustAdd(t, counterv1connect.NewCounterClient(srv.GetOrCreate("a")), 3, 3)
		pass(time.Second) // the message is on its way when the reply arrives
		wantCount(t, total, 3)

		srv.CrashAfterCommit() // the message is stored with what its turn did
		mustAdd(t, counterv1connect.NewCounterClient(srv.GetOrCreate("a")), 4, 7)
		pass(10 * time.Second)
		wantCount(t, total, 7)
	})
}

func TestExampleDirectCall(t *testing.T) {
	t.Parallel()
	srv := accounts(t, func(ctx context.Context, a *account, amount int64) error {
		if a.Key()[0] == "total" {
			a.State().Count += amount
			return nil
		}
		total, err := counterv1connect.NewCounterClient(a.Actors().GetOrCreate("total")).Increment(ctx, &counterv1.IncrementRequest{Amount: amount})
		a.State().Count = total.GetCount()
		return err
	})
	mustAdd(t, counterv1connect.NewCounterClient(srv.GetOrCreate("a")), 3, 3)
	mustAdd(t, counterv1connect.NewCounterClient(srv.GetOrCreate("b")), 4, 7)
	wantCount(t, counterv1connect.NewCounterClient(srv.Get("total")), 7)
}

func TestExampleIdempotencyKey(t *testing.T) {
	t.Parallel()
	srv, visits, _ := setup(t)
	for range 3 {
		ctx, info := connect.NewClientContext(t.Context())
		info.RequestHeader().Set("idempotency-key", "order-1")
		reply, err := visits.Increment(ctx, &counterv1.IncrementRequest{Amount: 3})
		if err != nil || reply.GetCount() != 3 {
			t.Fatalf("Increment: %v, %v", reply, err)
		}
		srv.Restart()
	}
	wantCount(t, visits, 3)
}

func TestExampleResume(t *testing.T) {
	t.Parallel()
	srv, visits, _ := setup(t)
	ctx, info := connect.NewClientContext(t.Context())
	if _, err := visits.Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
		t.Fatal(err)
	}
	cursor := info.ResponseHeader().Get("actor-cursor") // the place of this reply in the log
	mustAdd(t, visits, 1, 2)
	mustAdd(t, visits, 1, 3)
	srv.Restart()
	want := int64(2)
	for event, err := range troupe.Events(t.Context(), visits.Subscribe, &counterv1.SubscribeRequest{}, troupe.WithCursor(cursor)) {
		if err != nil {
			t.Fatal(err)
		}
		if got := event.GetCountChanged().GetCount(); got != want {
			t.Fatalf("the event is %d, want %d", got, want)
		}
		if want++; want > 3 {
			break
		}
	}
}

func TestExampleSubject(t *testing.T) {
	t.Parallel()
	srv := accounts(t, func(ctx context.Context, a *account, amount int64) error {
		if subject := actors.SubjectOf(ctx); subject != a.Key()[0] {
			return actors.Errorf(connect.CodePermissionDenied, "not_yours", "this is not %q's account", subject)
		}
		a.State().Count += amount
		return nil
	})
	alice := srv.Dial(actorstest.As("alice"))
	mustAdd(t, counterv1connect.NewCounterClient(alice.GetOrCreate("alice")), 3, 3)
	_, err := counterv1connect.NewCounterClient(alice.GetOrCreate("bob")).Increment(t.Context(), &counterv1.IncrementRequest{Amount: 3})
	wantError(t, err, connect.CodePermissionDenied, notExecuted)
	_, err = counterv1connect.NewCounterClient(srv.GetOrCreate("alice")).Increment(t.Context(), &counterv1.IncrementRequest{Amount: 3})
	wantError(t, err, connect.CodePermissionDenied, notExecuted) // nobody in particular
}

// parrot has a streaming action.
type parrot struct {
	agentv1connect.UnimplementedAssistantHandler
	actors.Actor[*agentv1.AssistantState, *agentv1.AssistantEvent]
}

func (p *parrot) Ask(ctx context.Context, req *agentv1.AskRequest, stream agentv1connect.AssistantAskServerStream) error {
	for word := range strings.FieldsSeq(req.GetText()) {
		if err := p.Turn(ctx, func(context.Context) error { p.State().Count++; return nil }); err != nil {
			return err
		}
		if err := stream.Send(&agentv1.AskResponse{Token: word}); err != nil {
			return err
		}
	}
	return nil
}

func TestExampleStreamingAction(t *testing.T) {
	t.Parallel()
	registry := actors.NewRegistry()
	actors.Register(registry, agentv1connect.RegisterAssistantHandler, func() *parrot { return new(parrot) })
	srv := actorstest.New(t, registry)
	stream, err := agentv1connect.NewAssistantClient(srv.GetOrCreate("polly")).Ask(t.Context(), &agentv1.AskRequest{Text: "pretty polly"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	for _, want := range []string{"pretty", "polly"} {
		if answer, err := stream.Receive(); err != nil || answer.GetToken() != want {
			t.Fatalf("Receive: %v, %v, want %q", answer, err, want)
		}
	}
	if answer, err := stream.Receive(); err == nil {
		t.Errorf("the stream goes on with %v", answer)
	}
}
