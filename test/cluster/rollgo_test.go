// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// goLoad is the load of users of clients/go: each has a client, which has one subscriber
// and makes one call a second.
type goLoad struct {
	t       *testing.T
	clients []*troupe.Client
	rate    int

	stopCalling, stopFollowing context.CancelFunc
	calling, following         sync.WaitGroup
	lasts                      []atomic.Int64 // count that each subscriber has seen
	events                     atomic.Int64

	mu    sync.Mutex
	seen  tally           // guarded by mu
	times []time.Duration // guarded by mu
}

func newGoLoad(t *testing.T, url string, rate int) *goLoad {
	t.Helper()
	l := &goLoad{
		t: t, rate: rate,
		lasts: make([]atomic.Int64, rate), seen: tally{Counts: make(map[string]int64)},
	}
	calling, stopCalling := context.WithCancel(t.Context())
	following, stopFollowing := context.WithCancel(t.Context())
	l.stopCalling, l.stopFollowing = stopCalling, stopFollowing
	t.Cleanup(func() {
		stopCalling()
		stopFollowing()
		l.calling.Wait()
		l.following.Wait()
		for _, client := range l.clients {
			client.Close()
		}
	})
	for range rate {
		l.clients = append(l.clients, troupe.Dial(url))
	}
	for n := range rate {
		l.following.Go(func() { l.follow(following, n) })
	}
	l.calling.Go(func() {
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		slots := make(chan struct{}, rate) // as many calls as a second has are under way
		for n := 0; calling.Err() == nil; n++ {
			<-ticker.C
			slots <- struct{}{}
			l.calling.Go(func() {
				l.call(n)
				<-slots
			})
		}
	})
	return l
}

// counters returns the nth call's, or the nth subscriber's, own.
func (l *goLoad) counters(n int) counterv1connect.CounterClient {
	return counterv1connect.NewCounterClient(l.clients[n%l.rate].GetOrCreate(rollKey(n, l.rate)))
}

func (l *goLoad) call(n int) {
	key := rollKey(n, l.rate)
	began := time.Now()
	_, err := l.counters(n).Increment(l.t.Context(), &counterv1.IncrementRequest{Amount: 1})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, time.Since(began))
	if err != nil {
		l.seen.Failures = append(l.seen.Failures, fmt.Sprintf("a call of %s: %v", key, err))
		return
	}
	l.seen.Counts[key]++
}

func (l *goLoad) wrongf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen.Failures = append(l.seen.Failures, fmt.Sprintf(format, args...))
}

// follow is one subscriber: it sees each count of its counter, one after the other.
func (l *goLoad) follow(ctx context.Context, n int) {
	key := rollKey(n, l.rate)
	for event, err := range troupe.Events(ctx, l.counters(n).Subscribe, &counterv1.SubscribeRequest{}) {
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.wrongf("subscriber %d of %s: %v", n, key, err)
			return
		}
		got := event.GetCountChanged().GetCount()
		if last := l.lasts[n].Swap(got); last > 0 && got != last+1 {
			l.wrongf("subscriber %d of %s: %d came after %d", n, key, got, last)
		}
		l.events.Add(1)
	}
}

// eventually waits until each subscriber is where it should be.
func (l *goLoad) eventually(what string, is func(n int, last int64) bool) {
	l.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for n := range l.lasts {
		for !is(n, l.lasts[n].Load()) {
			if time.Now().After(deadline) {
				l.wrongf("subscriber %d of %s is at %d: not %s", n, rollKey(n, l.rate), l.lasts[n].Load(), what)
				return
			}
			wait(20 * time.Millisecond)
		}
	}
}

func (l *goLoad) started() {
	l.t.Helper()
	l.eventually("an event for each", func(_ int, last int64) bool { return last > 0 })
}

func (l *goLoad) finish() tally {
	l.t.Helper()
	l.stopCalling()
	l.calling.Wait()
	l.eventually("the last event for each", func(n int, last int64) bool { return last == l.seen.Counts[rollKey(n, l.rate)] })
	l.stopFollowing()
	l.following.Wait()
	l.seen.Events = l.events.Load()
	slices.Sort(l.times)
	for _, at := range []int{len(l.times) / 2, len(l.times) * 99 / 100, len(l.times) - 1} {
		l.seen.Millis = append(l.seen.Millis, float64(l.times[at].Round(time.Millisecond).Milliseconds()))
	}
	return l.seen
}
