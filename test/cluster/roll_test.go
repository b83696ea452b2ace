// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// TestP40_ARollingRestartFailsNoCall holds that a restart of each node in turn, under
// load, fails no call of our client, and that a subscription misses no event and gets
// none twice.
func TestP40_ARollingRestartFailsNoCall(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	var urls []string
	for _, node := range f.nodes {
		urls = append(urls, node.URL)
	}
	b := newBalancer(t, urls...)
	client := troupe.Dial(b.url())
	t.Cleanup(client.Close)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var calls atomic.Int64
	var times [6][]time.Duration // of each caller
	counts := make([]atomic.Int64, keys)
	var callers, followers sync.WaitGroup
	for n := range 6 {
		callers.Go(func() {
			ticker := time.NewTicker(20 * time.Millisecond)
			defer ticker.Stop()
			for i := n; ; i += 6 {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
				began := time.Now()
				counters := counterv1connect.NewCounterClient(client.GetOrCreate(key(i)))
				if _, err := counters.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1}); err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				calls.Add(1)
				counts[i%keys].Add(1)
				times[n] = append(times[n], time.Since(began))
			}
		})
	}
	// Followers see every count of their counter, one after the other.
	seen := make([]atomic.Int64, 6)
	for n := range seen {
		followers.Go(func() {
			counters := counterv1connect.NewCounterClient(client.GetOrCreate(key(n)))
			last := int64(-1)
			for event, err := range troupe.Events(ctx, counters.Subscribe, &counterv1.SubscribeRequest{}) {
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("the subscription of %s: %v", key(n), err)
					}
					if errors.Is(err, troupe.ErrGap) {
						continue
					}
					return
				}
				got := event.GetCountChanged().GetCount()
				if last >= 0 && got != last+1 {
					t.Errorf("%s: %d came after %d", key(n), got, last)
				}
				last = got
				seen[n].Store(got)
			}
		})
	}
	wait(time.Second)
	for i := range f.nodes {
		old := f.nodes[i]
		began := time.Now()
		if err := old.Stop(); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
		t.Logf("node %d stopped in %s", i, time.Since(began))
		f.nodes[i] = f.start()
		b.serve(old.URL, f.nodes[i].URL)
		f.awaitReady(i)
		wait(2 * time.Second) // it takes its share
	}
	cancel()
	callers.Wait()
	followers.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(times[:]...)))
	t.Logf("%d calls: p50 %s, p99 %s, the slowest %s", calls.Load(), all[len(all)/2], all[len(all)*99/100], all[len(all)-1])
	for n := range keys {
		if got, err := f.count(n%3, key(n)); err != nil || got != counts[n].Load() {
			t.Errorf("%s counts %d (%v), and %d calls were answered", key(n), got, err, counts[n].Load())
		}
	}
	for n := range seen {
		if seen[n].Load() == 0 {
			t.Errorf("the follower of %s saw nothing", key(n))
		}
	}
}
