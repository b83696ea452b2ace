// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// TestP46_CallsInFlightAreBounded holds one call in flight and makes another, under
// each limit of what may be in flight at once.
func TestP46_CallsInFlightAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limits         Limits
		second, reason string // the second call's key
		elsewhere      []string
	}{
		"node":         {Limits{Calls: 1}, "b", "too_many_calls", nil},
		"principal":    {Limits{CallsPerPrincipal: 1}, "b", "too_many_calls_of_principal", []string{"Authorization", "root", "Actor-Key", "b"}},
		"IP and actor": {Limits{CallsPerIPAndActor: 1}, "a", "too_many_calls_of_address", []string{"Authorization", "ada", "Actor-Key", "b"}},
		"IP and rate":  {Limits{RatePerIPAndActor: 12}, "a", "rate_limited", []string{"Authorization", "ada", "Actor-Key", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived, leave := make(chan struct{}), make(chan struct{})
			b := setup(t, func(cfg *Config) {
				authenticated(cfg)
				cfg.Limits = c.limits
				cfg.Registry = actors.NewRegistry()
				actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) },
					actors.BeforeConnect(func(_ context.Context, attempt actors.Attempt, _ *counterv1.SubscribeRequest) error {
						if attempt.Header.Get("x-stay") != "" {
							close(arrived)
							<-leave
						}
						return nil
					}))
			})
			first := make(chan failure, 1)
			go func() {
				first <- increment(t, b, "Authorization", "ada", "Actor-Key", "a", "X-Stay", "yes")
			}()
			<-arrived
			got := increment(t, b, "Authorization", "ada", "Actor-Key", c.second)
			if got.code != "resource_exhausted" || got.reason != c.reason || !got.retry || got.status != http.StatusTooManyRequests {
				t.Errorf("a call too many: %+v", got)
			}
			if c.elsewhere != nil {
				if got := increment(t, b, c.elsewhere...); got.code != "" {
					t.Errorf("somebody else's call: %+v", got)
				}
			}
			close(leave)
			if got := <-first; got.code != "" {
				t.Errorf("the first call: %+v", got)
			}
			if name == "IP and rate" {
				return // its time has not come
			}
			if got := increment(t, b, "Authorization", "ada", "Actor-Key", c.second); got.code != "" {
				t.Errorf("once there is room again: %+v", got)
			}
		})
	}
}

func TestSubscriptionsPerPrincipal(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) {
		authenticated(cfg)
		cfg.Limits.SubscriptionsPerPrincipal = 1
	})
	open := func(as string) error {
		ctx, _ := at(t.Context(), "Authorization", as, "Actor-Key", "a")
		stream, err := b.counters().Subscribe(ctx, &counterv1.SubscribeRequest{})
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = stream.Close() })
		_, err = stream.Receive()
		return err
	}
	if err := open("ada"); err != nil {
		t.Fatal(err)
	}
	assertError(t, open("ada"), connect.CodeResourceExhausted, "too_many_subscriptions_of_principal", "troupe.v1")
	if err := open("root"); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

// TestStreamAge holds that the flag reaches the runtime, which has the rest.
func TestStreamAge(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.StreamAge = time.Millisecond })
	stream := b.subscribe(t, "a")
	last, err := stream.Receive()
	if err != nil || last.GetInfo().GetClosing().GetReason().String() != "CLOSE_REASON_EXPIRED" {
		t.Errorf("got %v, %v", last, err)
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.Heartbeat = time.Millisecond })
	stream := b.subscribe(t, "a")
	beat, err := stream.Receive()
	if err != nil || beat.GetInfo().GetHeartbeat() == nil {
		t.Errorf("got %v, %v", beat, err)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	l := newRateLimit(60, 5)
	now := time.Now()
	for _, step := range []struct {
		after      time.Duration
		tries, let int
	}{{0, 20, 5}, {time.Second, 20, 1}, {500 * time.Millisecond, 20, 0}, {500 * time.Millisecond, 20, 1}, {time.Hour, 20, 5}} {
		now = now.Add(step.after)
		got := 0
		for range step.tries {
			if l.take(1, now) == 0 {
				got++
			}
		}
		if got != step.let {
			t.Errorf("after %v, %d of %d are let in, want %d", step.after, got, step.tries, step.let)
		}
	}
	if wait := l.wait(1, now); wait != time.Second {
		t.Errorf("the next has to wait %v", wait)
	}
	if wait := l.take(2, now); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
}

// TestP46_LimitsForgetWhoIsGone holds that the memory of the limits themselves is
// bounded.
func TestP46_LimitsForgetWhoIsGone(t *testing.T) {
	t.Parallel()
	l := newRateLimit(1, 1)
	now := time.Now()
	for key := range uint64(2 * maxBuckets) {
		l.take(key, now)
	}
	if len(l.due) > maxBuckets {
		t.Errorf("%d keys are remembered", len(l.due))
	}
	l.take(0, now.Add(time.Hour))
	if len(l.due) != 1 {
		t.Errorf("%d keys are remembered an hour later", len(l.due))
	}
	s := newShares(2)
	for key := range uint64(1000) {
		for i, want := range []bool{true, true, false} {
			if s.enter(key) != want {
				t.Fatalf("key %d: entering %d times ends with %v", key, i+1, !want)
			}
		}
		s.leave(key)
		s.leave(key)
	}
	if len(s.open) != 0 {
		t.Errorf("%d keys are remembered", len(s.open))
	}
}

func TestFairnessKeys(t *testing.T) {
	t.Parallel()
	f := newFairness(Limits{CallsPerIPAndActor: 1})
	target := func(namespace, key string) *actors.Target {
		return &actors.Target{Address: store.Address{Namespace: namespace, Type: "a.A", Key: key}}
	}
	key := func(target *actors.Target, peer string) uint64 {
		k, err := f.count(target, peer)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	base := key(target("n", "k"), "192.0.2.1:1")
	if base != key(target("n", "k"), "192.0.2.1:2") || base != key(target("n", "k"), "[::ffff:192.0.2.1]:1") {
		t.Error("one address has several keys")
	}
	if key(target("n", "k"), "[2001:db8::1]:1") != key(target("n", "k"), "[2001:db8::2]:1") {
		t.Error("one IPv6 network has several keys")
	}
	seen := map[uint64]string{base: "base"}
	for i, k := range []uint64{
		key(target("n", "l"), "192.0.2.1:1"), key(target("m", "k"), "192.0.2.1:1"), key(target("n", "k"), "192.0.2.2:1"),
		key(&actors.Target{ID: store.NewID(1), Address: store.Address{Namespace: "n"}}, "192.0.2.1:1"),
	} {
		if other, ok := seen[k]; ok {
			t.Errorf("key %d is that of %s", i, other)
		}
		seen[k] = fmt.Sprint(i)
	}
	if newFairness(Limits{}) != nil {
		t.Error("the limits are on by default")
	}
}
