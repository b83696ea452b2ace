// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
)

// TestASharedStreamCarriesActorsOfOtherNodes holds that the subscriptions of one stream
// may be of actors that different nodes run, and TestForwardedEventSource the same of
// server-sent events.
func TestASharedStreamCarriesActorsOfOtherNodes(t *testing.T) {
	t.Parallel()
	_, nodes := nodesOf(t, 2, nil)
	for name, options := range map[string][]connecthttp.Option{"binary": nil, "JSON": {connecthttp.WithProtoJSON()}} {
		service := troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(nodes[0].client, nodes[0].url, options...)))
		keys := []string{nodes[0].keyOf(t), nodes[1].keyOf(t)}
		var wanted []*troupev1.Subscription
		for n, key := range keys {
			wanted = append(wanted, &troupev1.Subscription{Number: uint32(n + 1), Type: counterv1connect.CounterName, Key: []string{key}})
		}
		w := openWatch(t, service, wanted)
		for range keys { // they are open
			w.next(t)
		}
		for n, key := range keys {
			ctx, _ := at(t.Context(), "actor-key", key)
			if _, err := nodes[1].counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
				t.Fatal(err)
			}
			if frame := w.next(t); frame.GetSubscription() != uint32(n+1) || frame.GetEvent() == nil {
				t.Errorf("%s: the frame of %s is %v", name, key, frame)
			}
		}
	}
}

// TestAHeaderOfAnyBytesTravels holds that a header which is not UTF-8, as proxies write
// some, keeps no shared stream from an actor of another node.
func TestAHeaderOfAnyBytesTravels(t *testing.T) {
	t.Parallel()
	said := make(chan string, 1)
	_, nodes := nodesOf(t, 2, func(cfg *Config) {
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) },
			actors.BeforeConnect(func(_ context.Context, a actors.Attempt, _ *counterv1.SubscribeRequest) error {
				said <- a.Header.Get("X-City")
				return nil
			}))
	})
	service := troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(nodes[0].client, nodes[0].url)))
	w := openWatch(t, service, []*troupev1.Subscription{counterNamed(1, nodes[1].keyOf(t))}, "X-City", "S\xe3o Paulo")
	if frame := w.next(t); frame.GetEvent() == nil {
		t.Fatalf("got %v", frame)
	}
	if got := <-said; got != "S\uFFFDo Paulo" {
		t.Errorf("got %q", got)
	}
}

// TestASharedStreamIsChangedThroughAnyNode holds that calls about a shared stream reach
// the node that holds it, whichever they come to, with who sent them and their headers:
// the balancer in front of a cluster knows nothing of streams.
func TestASharedStreamIsChangedThroughAnyNode(t *testing.T) {
	t.Parallel()
	cluster, nodes := nodesOf(t, 3, func(cfg *Config) {
		authenticated(cfg)
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) },
			actors.BeforeConnect(func(_ context.Context, a actors.Attempt, _ *counterv1.SubscribeRequest) error {
				if a.Header.Get("X-Say") == "refuse" {
					return actors.Errorf(connect.CodePermissionDenied, "not_you", "refused as asked")
				}
				return nil
			}))
	})
	ada := []string{"Authorization", "ada"}
	for name, options := range map[string][]connecthttp.Option{
		"binary": nil, "JSON": {connecthttp.WithProtoJSON()}, "gRPC-Web": {connecthttp.WithGRPCWeb()},
	} {
		service := func(edge *member) troupev1connect.ActorServiceClient {
			return troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(edge.client, edge.url, options...)))
		}
		w := openWatch(t, service(nodes[0]), nil, ada...)
		if !strings.HasPrefix(w.opened.GetStreamId(), nodes[0].placement.Self().ID+".") {
			t.Errorf("%s: the stream %s does not name its node", name, w.opened.GetStreamId())
		}
		number := uint32(0)
		for _, edge := range nodes {
			w.client = service(edge)
			for _, owner := range nodes {
				number++
				key := owner.keyOf(t)
				for range 2 { // the second one changes nothing
					if err := w.add(t, counterNamed(number, key), ada...); err != nil {
						t.Fatalf("%s: AddSubscription through %s: %v", name, edge.url, err)
					}
				}
				opened := w.counterFrame(t, number).GetInfo().GetOpened()
				if opened == nil {
					t.Fatalf("%s: subscription %d does not open", name, number)
				}
				// A call as the connection that is carried, also from a third node.
				ctx, _ := at(t.Context(), append([]string{"actor-key", key, "actor-conn", opened.GetConnection()}, ada...)...)
				if _, err := edge.counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
					t.Fatalf("%s: a call as the connection of %s through %s: %v", name, key, edge.url, err)
				}
				if w.counterFrame(t, number).GetCountChanged() == nil {
					t.Errorf("%s: the event of %s does not come", name, key)
				}
				ctx, _ = at(t.Context(), ada...)
				if _, err := w.client.RemoveSubscription(ctx, &troupev1.RemoveSubscriptionRequest{Stream: w.opened.GetStream(), Number: number}); err != nil {
					t.Fatalf("%s: RemoveSubscription through %s: %v", name, edge.url, err)
				}
				if err := w.ended(t, number); err != nil {
					t.Errorf("%s: a subscription that was removed ends with %v", name, err)
				}
			}
			number++
			if err := w.add(t, counterNamed(number, nodes[2].keyOf(t)), append([]string{"X-Say", "refuse"}, ada...)...); err != nil {
				t.Fatal(err)
			}
			assertError(t, errorOf(w.ended(t, number)), connect.CodePermissionDenied, "not_you", counterType)
			number++
			assertError(t, w.add(t, counterNamed(number, "x"), "Authorization", "root"), connect.CodeFailedPrecondition, "stream_gone", "troupe.v1")
		}
		_ = w.stream.Close()
		w.client = service(nodes[1])
		eventually(t, "the stream is gone for every node", func() bool {
			return connect.CodeOf(w.add(t, counterNamed(number+1, "x"), ada...)) == connect.CodeFailedPrecondition
		})
	}
	// A node that has lost its lease has another name, and keeps its streams.
	w := openWatch(t, troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(nodes[0].client, nodes[0].url))), nil, ada...)
	old := nodes[0].placement.Self().ID
	cluster.Expire(nodes[0].placement)
	eventually(t, "the node is back", func() bool { return nodes[0].placement.Self().ID != old })
	if err := w.add(t, counterNamed(1, nodes[1].keyOf(t)), ada...); err != nil {
		t.Errorf("the node does not know its own stream: %v", err)
	}
	w.counterFrame(t, 1)
}

func TestForwardedEventSource(t *testing.T) {
	t.Parallel()
	_, nodes := nodesOf(t, 2, nil)
	key := nodes[1].keyOf(t)
	add := func() {
		ctx, _ := at(t.Context(), "actor-key", key)
		if _, err := nodes[1].counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	add()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, nodes[0].url+"/actors/default/"+key+"/@/counter.v1.Counter/Subscribe", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", eventStreamType)
	response, err := nodes[0].client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if got := response.Header.Get("Content-Type"); got != eventStreamType {
		t.Fatalf("%s: %s", response.Status, got)
	}
	lines := bufio.NewScanner(response.Body)
	seen := func(text string) bool {
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				return true
			}
		}
		return false
	}
	if !seen("opened") {
		t.Fatal("the stream does not open")
	}
	add()
	if !seen("countChanged") {
		t.Error("the event does not come")
	}
}
