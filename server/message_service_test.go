// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
)

// poster is a counter that sends as many messages as it is asked for, to a receiver
// that refuses them.
type poster struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]

	takes *bool
}

func (p *poster) Increment(_ context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	for range req.GetAmount() {
		if err := p.Outbox().Send(actors.Peer{Key: []string{"to", "b"}}, counterv1connect.CounterFailProcedure, &counterv1.FailRequest{Amount: 1}); err != nil {
			return nil, err
		}
	}
	return new(counterv1.IncrementResponse), nil
}

func (p *poster) Get(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	return &counterv1.GetResponse{Count: p.State().GetCount()}, nil
}

func (p *poster) Fail(context.Context, *counterv1.FailRequest) (*counterv1.FailResponse, error) {
	if !*p.takes {
		return nil, actors.Errorf(connect.CodeAborted, "not_now", "ask me later")
	}
	p.State().Count++
	return new(counterv1.FailResponse), nil
}

// TestTheDeadListOfMessages lets messages die in fake time, without a network.
func TestTheDeadListOfMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		takes := false
		registry := actors.NewRegistry()
		actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *poster { return &poster{takes: &takes} })
		host, err := actors.NewHost(actors.Config{Registry: registry, Store: memory.New(memory.Options{}), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = host.Shutdown(context.Background()) }()
		validator, err := newValidator()
		if err != nil {
			t.Fatal(err)
		}
		trusted := true
		service := &actorService{
			directory:  host,
			namespaces: newNamespaces([]string{"default"}),
			inputs:     map[string]protoreflect.FullName{counterType: ""},
			check:      validator.check,
			trusted:    func(context.Context) bool { return trusted },
			log:        slog.New(slog.DiscardHandler),
		}
		ctx := t.Context()
		counters := func(key ...string) counterv1connect.CounterClient {
			return counterv1connect.NewCounterClient(host.Actors("default").GetOrCreate(key...))
		}
		for key, amount := range map[string]int64{"a": 2, "c": 1} {
			if _, err := counters(key).Increment(ctx, &counterv1.IncrementRequest{Amount: amount}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Hour) //nolint:forbidigo // no time passes outside the bubble

		list := func(req *troupev1.ListDeadMessagesRequest) (numbers []uint64) {
			t.Helper()
			for {
				page, err := service.ListDeadMessages(ctx, req)
				if err != nil {
					t.Fatal(err)
				}
				for _, dead := range page.GetMessages() {
					numbers = append(numbers, dead.GetMessage())
				}
				if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
					return numbers
				}
			}
		}
		of := func(key ...string) []uint64 {
			t.Helper()
			return list(&troupev1.ListDeadMessagesRequest{Address: address(key...), PageSize: 1})
		}
		if got := of("a"); !cmp.Equal(got, []uint64{1, 2}) {
			t.Errorf("the dead messages of a are %v", got)
		}
		if got := list(&troupev1.ListDeadMessagesRequest{PageSize: 1}); len(got) != 3 {
			t.Errorf("the dead messages are %v", got)
		}
		if got := list(&troupev1.ListDeadMessagesRequest{Type: "no.such.Type"}); len(got) != 0 {
			t.Errorf("the dead messages of another type are %v", got)
		}
		page, err := service.ListDeadMessages(ctx, &troupev1.ListDeadMessagesRequest{Address: address("c")})
		if err != nil || len(page.GetMessages()) != 1 {
			t.Fatalf("ListDeadMessages: %v, %v", page, err)
		}
		dead := page.GetMessages()[0]
		want := &troupev1.DeadMessage{
			Namespace: "default", Type: counterType, Key: []string{"c"}, Message: 1,
			Receiver:  &troupev1.Address{Namespace: "default", Type: counterType, Key: []string{"to", "b"}},
			Procedure: counterv1connect.CounterFailProcedure, Attempts: 12, LastError: "aborted: ask me later",
		}
		if diff := cmp.Diff(want, dead, protocmp.Transform(), protocmp.IgnoreFields(dead, "actor_id", "sent_at", "failed_at")); diff != "" {
			t.Error(diff)
		}

		takes = true
		if _, err := service.RetryMessage(ctx, &troupev1.RetryMessageRequest{Address: address("a"), Message: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := service.DropMessage(ctx, &troupev1.DropMessageRequest{Address: address("a"), Message: 2}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, err := counters("to", "b").Get(ctx, new(counterv1.GetRequest)); err != nil || got.GetCount() != 1 {
			t.Errorf("the receiver took %v, %v", got, err)
		}
		if got := of("a"); len(got) != 0 {
			t.Errorf("the dead messages of a are %v", got)
		}
		gone := &troupev1.RetryMessageRequest{Address: address("a"), Message: 2}
		if _, err := service.RetryMessage(ctx, gone); connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("RetryMessage of a message that was dropped: %v", err)
		}
		sender, err := store.ParseID(dead.GetActorId())
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{"?", encodeDeadToken(sender, "x")} {
			if _, err := service.ListDeadMessages(ctx, &troupev1.ListDeadMessagesRequest{PageToken: token}); connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("ListDeadMessages after %q: %v", token, err)
			}
		}
		trusted = false
		_, listErr := service.ListDeadMessages(ctx, new(troupev1.ListDeadMessagesRequest))
		_, retryErr := service.RetryMessage(ctx, gone)
		_, dropErr := service.DropMessage(ctx, &troupev1.DropMessageRequest{Address: address("a"), Message: 2})
		for _, err := range []error{listErr, retryErr, dropErr} {
			if connect.CodeOf(err) != connect.CodePermissionDenied {
				t.Errorf("without the server role: %v", err)
			}
		}
	})
}
