// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"fmt"
	"net"
	"net/http/httptrace"
	"sync"
	"testing"

	"github.com/troupe-dev/troupe/actors/store/memory"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// TestManySubscriptionsOverHTTP2 holds that as many subscriptions as a shared stream carries,
// and calls beside them, need one TCP connection over HTTP/2, without TLS too: why this
// client has no shared stream. Beyond about a hundred, net/http opens another one.
func TestManySubscriptionsOverHTTP2(t *testing.T) {
	t.Parallel()
	url, stop := troupeServer(t, "127.0.0.1:0", memory.New(memory.Options{}))
	defer stop()
	client := troupe.Dial(url, troupe.WithHTTP2())
	defer client.Close()
	var mu sync.Mutex
	sockets := make(map[net.Conn]bool)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		mu.Lock()
		defer mu.Unlock()
		sockets[info.Conn] = true
	}})
	const many = 64
	counters := make([]counterv1connect.CounterClient, many)
	for i := range counters {
		counters[i] = counterv1connect.NewCounterClient(client.GetOrCreate(fmt.Sprint(i)))
	}
	if _, err := counters[0].Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
		t.Fatal(err)
	}
	var got sync.WaitGroup
	open := make(chan int, many)
	for i, counter := range counters {
		got.Go(func() {
			for event, err := range troupe.Events(ctx, counter.Subscribe, &counterv1.SubscribeRequest{}, troupe.WithControlFrames()) {
				if err != nil {
					t.Errorf("counter %d: %v", i, err)
					return
				}
				if event.GetInfo().GetOpened() != nil {
					open <- i
				}
				if event.GetCountChanged() != nil {
					return
				}
			}
		})
	}
	for range many {
		i := <-open
		if _, err := counters[i].Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
			t.Errorf("counter %d: %v", i, err)
		}
	}
	got.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(sockets) != 1 {
		t.Errorf("%d subscriptions took %d connections", many, len(sockets))
	}
}
