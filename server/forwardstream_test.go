// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
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
