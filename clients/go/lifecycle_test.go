// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"sync"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store/memory"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// heavy is an input that no header can hold.
func heavy(initial int64) *counterv1.CounterInput {
	input := &counterv1.CounterInput{Initial: initial}
	filler := protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), make([]byte, 8<<10))
	input.ProtoReflect().SetUnknown(filler)
	return input
}

// TestLargeInput holds that an input of any size reaches the actor, once, whoever calls
// first, and that the calls keep their own metadata.
func TestLargeInput(t *testing.T) {
	t.Parallel()
	url, stop := troupeServer(t, "127.0.0.1:0", memory.New(memory.Options{}))
	defer stop()
	client := troupe.Dial(url)
	defer client.Close()
	counter := counterv1connect.NewCounterClient(client.Bind(troupe.Address{Key: []string{"a"}, Input: heavy(40)}))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			ctx, info := connect.NewClientContext(t.Context())
			if _, err := counter.Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil || info.ResponseHeader().Get("actor-id") == "" {
				t.Errorf("a call: %v, %v", err, info.ResponseHeader())
			}
		})
	}
	group.Wait()
	if reply, err := counter.Get(t.Context(), &counterv1.GetRequest{}); err != nil || reply.GetCount() != 48 {
		t.Errorf("the count is %d, %v; want 48", reply.GetCount(), err)
	}
	taken := counterv1connect.NewCounterClient(client.Bind(troupe.Address{Key: []string{"a"}, Input: heavy(1), Resolve: troupe.Create}))
	if _, err := taken.Get(t.Context(), &counterv1.GetRequest{}); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("a creation of a key that is taken: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	other := counterv1connect.NewCounterClient(client.Bind(troupe.Address{Key: []string{"b"}, Input: heavy(5)}))
	if _, err := other.Get(gone, &counterv1.GetRequest{}); err == nil {
		t.Error("a caller that has left gets an answer")
	}
	if reply, err := other.Get(t.Context(), &counterv1.GetRequest{}); err != nil || reply.GetCount() != 5 {
		t.Errorf("the call after one that failed: %v, %v", reply, err)
	}
}

func TestCreateActorAndResolve(t *testing.T) {
	t.Parallel()
	url, stop := troupeServer(t, "127.0.0.1:0", memory.New(memory.Options{}))
	defer stop()
	client := troupe.Dial(url)
	defer client.Close()
	if _, err := client.Resolve(t.Context(), counterv1connect.CounterName, "a"); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("an absent key: %v", err)
	}
	id, err := client.CreateActor(t.Context(), counterv1connect.CounterName, troupe.Address{Key: []string{"a"}, Input: heavy(7)})
	if err != nil || id == "" {
		t.Fatalf("created %q, %v", id, err)
	}
	if found, err := client.Resolve(t.Context(), counterv1connect.CounterName, "a"); err != nil || found != id {
		t.Errorf("resolved %q, %v; want %q", found, err, id)
	}
	if reply, err := counterv1connect.NewCounterClient(client.ForID(id)).Get(t.Context(), &counterv1.GetRequest{}); err != nil || reply.GetCount() != 7 {
		t.Errorf("the count is %d, %v", reply.GetCount(), err)
	}
	if _, err := client.CreateActor(t.Context(), counterv1connect.CounterName, troupe.Address{Key: []string{"a"}}); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("a second creation: %v", err)
	}
}

// TestWithRequest holds that each stream has a request of its own, and that a function
// that makes the wrong one ends the subscription.
func TestWithRequest(t *testing.T) {
	t.Parallel()
	url, stop := troupeServer(t, "127.0.0.1:0", memory.New(memory.Options{}))
	defer stop()
	client := troupe.Dial(url)
	defer client.Close()
	counter := counterv1connect.NewCounterClient(client.GetOrCreate("a"))
	made := make(chan *counterv1.SubscribeRequest, 1)
	for _, err := range troupe.Events(t.Context(), counter.Subscribe, nil, troupe.WithControlFrames(), troupe.WithRequest(
		func(context.Context) (*counterv1.SubscribeRequest, error) {
			request := new(counterv1.SubscribeRequest)
			made <- request
			return request, nil
		})) {
		if err != nil {
			t.Errorf("the first frame: %v", err)
		}
		break // it has opened
	}
	if len(made) != 1 {
		t.Error("no request was made")
	}
	for _, err := range troupe.Events(t.Context(), counter.Subscribe, nil, troupe.WithRequest(
		func(context.Context) (proto.Message, error) { return new(counterv1.GetRequest), nil })) {
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("a request of another type: %v", err)
		}
	}
	for _, err := range troupe.Events(t.Context(), counter.Subscribe, nil, troupe.WithRequest(
		func(context.Context) (*counterv1.SubscribeRequest, error) {
			return nil, connect.NewError(connect.CodePermissionDenied, "no token")
		})) {
		if connect.CodeOf(err) != connect.CodePermissionDenied {
			t.Errorf("a function that refuses: %v", err)
		}
	}
}
