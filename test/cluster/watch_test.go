// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net/http"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"google.golang.org/protobuf/proto"
)

// TestASharedStreamThroughABalancer holds that a client behind a balancer can use a shared
// stream: each of its calls comes to another node than the one before, and the stream
// stays where it is and carries actors of all nodes.
func TestASharedStreamThroughABalancer(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	b := newBalancer(t, f.nodes[0].URL, f.nodes[1].URL, f.nodes[2].URL)
	transport := &http.Transport{DisableKeepAlives: true} // so that the balancer picks a node for each call
	client := connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, b.url()))
	service, counters := troupev1connect.NewActorServiceClient(client), counterv1connect.NewCounterClient(client)
	stream, err := service.Watch(t.Context(), &troupev1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	next := func() *troupev1.WatchFrame {
		t.Helper()
		for {
			frame, err := stream.Receive()
			if err != nil {
				t.Fatal(err)
			}
			if frame.GetHeartbeat() == nil {
				return frame
			}
		}
	}
	token := next().GetOpened().GetStream()
	const many = 12
	for number := range uint32(many) {
		if _, err := service.AddSubscription(t.Context(), &troupev1.AddSubscriptionRequest{Stream: token, Subscription: &troupev1.Subscription{
			Number: number + 1, Type: counterv1connect.CounterName, Key: []string{fmt.Sprintf("warm-%d", number)},
		}}); err != nil {
			t.Fatalf("AddSubscription %d: %v", number+1, err)
		}
		if frame := next(); frame.GetSubscription() != number+1 || frame.GetEvent() == nil {
			t.Fatalf("the frame of an added subscription is %v", frame)
		}
	}
	for number := range uint32(many) {
		ctx, info := connect.NewClientContext(t.Context())
		info.RequestHeader().Set("actor-key", fmt.Sprintf("warm-%d", number))
		reply, err := counters.Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
		if err != nil {
			t.Fatal(err)
		}
		frame, event := next(), new(counterv1.CounterEvent)
		if err := proto.Unmarshal(frame.GetEvent().GetBinary(), event); err != nil {
			t.Fatal(err)
		}
		if frame.GetSubscription() != number+1 || event.GetCountChanged().GetCount() != reply.GetCount() {
			t.Errorf("the frame of increment %d is %v, %v", number+1, frame, event)
		}
		if _, err := service.RemoveSubscription(t.Context(), &troupev1.RemoveSubscriptionRequest{Stream: token, Number: number + 1}); err != nil {
			t.Fatalf("RemoveSubscription %d: %v", number+1, err)
		}
		if frame := next(); frame.GetSubscription() != number+1 || frame.GetEnded() == nil || frame.GetEnded().GetError() != nil {
			t.Errorf("the last frame of subscription %d is %v", number+1, frame)
		}
	}
}
