// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/google/go-cmp/cmp"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

const counterType = "counter.v1.Counter"

func (b *bundle) lifecycle() troupev1connect.ActorServiceClient {
	return troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(b.h1, b.url)))
}

func address(key ...string) *troupev1.Address { return &troupev1.Address{Type: counterType, Key: key} }

func TestActorService(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ctx, service := t.Context(), b.lifecycle()

	if _, err := service.Get(ctx, &troupev1.GetRequest{Address: address("a")}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("Get of an absent actor: %v", err)
	}
	input, err := anypb.New(&counterv1.CounterInput{Initial: 40})
	if err != nil {
		t.Fatal(err)
	}
	created, err := service.Create(ctx, &troupev1.CreateRequest{Address: address("a", "b/c"), Input: input})
	if err != nil {
		t.Fatal(err)
	}
	actor := created.GetActor()
	if actor.GetNamespace() != "default" || actor.GetType() != counterType || !cmp.Equal(actor.GetKey(), []string{"a", "b/c"}) || actor.GetRevision() != 1 || actor.GetCreatedAt() == nil {
		t.Errorf("Create: %v", actor)
	}
	called, _ := at(ctx, "actor-key", "a/b%2Fc")
	if reply, err := b.counters().Increment(called, &counterv1.IncrementRequest{Amount: 2}); err != nil || reply.GetCount() != 42 {
		t.Errorf("the input was not used: %v, %v", reply, err)
	}
	if _, err := service.Create(ctx, &troupev1.CreateRequest{Address: address("a", "b/c")}); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("Create again: %v", err)
	}
	again, err := service.GetOrCreate(ctx, &troupev1.GetOrCreateRequest{Address: address("a", "b/c")})
	if err != nil || again.GetCreated() || again.GetActor().GetId() != actor.GetId() {
		t.Errorf("GetOrCreate: %v, %v", again, err)
	}
	byID, err := service.Get(ctx, &troupev1.GetRequest{Address: &troupev1.Address{Id: actor.GetId()}})
	if err != nil || !cmp.Equal(byID.GetActor().GetKey(), []string{"a", "b/c"}) || byID.GetActor().GetRevision() != 2 {
		t.Errorf("Get by id: %v, %v", byID, err)
	}
	resolved, err := service.Resolve(ctx, &troupev1.ResolveRequest{Address: address("a", "b/c")})
	if err != nil || resolved.GetId() != actor.GetId() {
		t.Errorf("Resolve: %v, %v", resolved, err)
	}
	destroyed, err := service.Destroy(ctx, &troupev1.DestroyRequest{Address: address("a", "b/c")})
	if err != nil || destroyed.GetId() != actor.GetId() {
		t.Errorf("Destroy: %v, %v", destroyed, err)
	}
	if _, err := service.Resolve(ctx, &troupev1.ResolveRequest{Address: address("a", "b/c")}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("Resolve after Destroy: %v", err)
	}
}

func TestActorServiceBadInput(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ctx, service := t.Context(), b.lifecycle()
	other, err := anypb.New(&counterv1.GetRequest{})
	if err != nil {
		t.Fatal(err)
	}
	id := "00000000000000000000000000"
	for name, c := range map[string]struct {
		call   func() error
		code   connect.Code
		reason string
	}{
		"no address": {func() error { _, err := service.Get(ctx, &troupev1.GetRequest{}); return err }, connect.CodeInvalidArgument, "invalid_message"},
		"no type": {func() error {
			_, err := service.Get(ctx, &troupev1.GetRequest{Address: &troupev1.Address{Key: []string{"a"}}})
			return err
		}, connect.CodeInvalidArgument, "bad_actor_type"},
		"unknown type": {func() error {
			_, err := service.Get(ctx, &troupev1.GetRequest{Address: &troupev1.Address{Type: "a.B"}})
			return err
		}, connect.CodeInvalidArgument, "bad_actor_type"},
		"id and key": {func() error {
			_, err := service.Get(ctx, &troupev1.GetRequest{Address: &troupev1.Address{Id: id, Key: []string{"a"}}})
			return err
		}, connect.CodeInvalidArgument, "address_conflict"},
		"create by id": {func() error {
			_, err := service.Create(ctx, &troupev1.CreateRequest{Address: &troupev1.Address{Id: id}})
			return err
		}, connect.CodeInvalidArgument, "address_conflict"},
		"bad id": {func() error {
			_, err := service.Get(ctx, &troupev1.GetRequest{Address: &troupev1.Address{Id: "u"}})
			return err
		}, connect.CodeInvalidArgument, "bad_actor_id"},
		"bad key": {func() error {
			_, err := service.Get(ctx, &troupev1.GetRequest{Address: address("a\x00")})
			return err
		}, connect.CodeInvalidArgument, "bad_actor_key"},
		"wrong input": {func() error {
			_, err := service.Create(ctx, &troupev1.CreateRequest{Address: address("a"), Input: other})
			return err
		}, connect.CodeInvalidArgument, "bad_actor_input"},
		"namespace": {func() error {
			_, err := service.List(ctx, &troupev1.ListRequest{Namespace: "other"})
			return err
		}, connect.CodeNotFound, "unknown_namespace"},
		"page token": {func() error {
			_, err := service.List(ctx, &troupev1.ListRequest{PageToken: "%"})
			return err
		}, connect.CodeInvalidArgument, "bad_page_token"},
		"page size": {func() error {
			_, err := service.List(ctx, &troupev1.ListRequest{PageSize: 1001})
			return err
		}, connect.CodeInvalidArgument, "invalid_message"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assertError(t, c.call(), c.code, c.reason, "troupe.v1")
		})
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ctx, service := t.Context(), b.lifecycle()
	keys := [][]string{{"acme"}, {"acme", "a"}, {"acme", "b"}, {"acme", "b", "c"}, {"acme-2"}, {"acmecorp"}, {"zoo"}, nil}
	for _, key := range keys {
		if _, err := service.Create(ctx, &troupev1.CreateRequest{Address: address(key...)}); err != nil {
			t.Fatal(err)
		}
	}
	list := func(request *troupev1.ListRequest) (found [][]string) {
		for {
			page, err := service.List(ctx, request)
			if err != nil {
				t.Fatal(err)
			}
			for _, actor := range page.GetActors() {
				found = append(found, actor.GetKey())
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				return found
			}
		}
	}
	for size := range int32(5) {
		if got := list(&troupev1.ListRequest{PageSize: size}); len(got) != len(keys) {
			t.Errorf("pages of %d: %v", size, got)
		}
		want := [][]string{{"acme"}, {"acme", "a"}, {"acme", "b"}, {"acme", "b", "c"}}
		if got := list(&troupev1.ListRequest{Type: counterType, KeyPrefix: []string{"acme"}, PageSize: size}); !cmp.Equal(got, want) {
			t.Errorf("prefix, pages of %d: %v", size, got)
		}
	}
	page, err := service.List(ctx, &troupev1.ListRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = service.List(ctx, &troupev1.ListRequest{Type: "another.Type", PageToken: page.GetNextPageToken()})
	assertError(t, err, connect.CodeInvalidArgument, "bad_page_token", "troupe.v1")
}

// TestServerRole holds that behind a listener of someone else nobody may destroy.
func TestServerRole(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	foreign := startForeign(t, b.Handler())
	service := troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(b.h1, foreign)))
	_, err := service.List(t.Context(), &troupev1.ListRequest{})
	assertError(t, err, connect.CodePermissionDenied, "server_role_required", "troupe.v1")
	_, err = service.Destroy(t.Context(), &troupev1.DestroyRequest{Address: address("a")})
	assertError(t, err, connect.CodePermissionDenied, "server_role_required", "troupe.v1")
}

// TestActorServiceReplyTooLarge holds that the error about a reply that is too large is
// about the reply, and does not deny what has been done.
func TestActorServiceReplyTooLarge(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.ResponseBytes = 1 })
	for _, c := range []struct {
		procedure string
		request   proto.Message
		outcome   troupev1.Outcome_Outcome
	}{
		{troupev1connect.ActorServiceCreateProcedure, &troupev1.CreateRequest{Address: address("a")}, troupev1.Outcome_OUTCOME_COMMITTED},
		{troupev1connect.ActorServiceListProcedure, &troupev1.ListRequest{}, troupev1.Outcome_OUTCOME_NOT_EXECUTED},
	} {
		body, err := proto.Marshal(c.request)
		if err != nil {
			t.Fatal(err)
		}
		got := b.post(t, c.procedure, "application/grpc", nil, envelope(body))
		if got.code != connect.CodeResourceExhausted.String() || got.reason != "reply_too_large" || got.outcome != c.outcome {
			t.Errorf("%s: %+v", c.procedure, got)
		}
	}
}
