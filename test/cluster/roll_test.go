// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// rollRate is how many calls a second, and how many subscribers, a rolling restart
// happens under: TROUPE_ROLL_RATE, or as many as leave a small machine room for the
// other tests.
func rollRate(t *testing.T) int {
	t.Helper()
	text := os.Getenv("TROUPE_ROLL_RATE")
	if text == "" {
		return 60
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TROUPE_ROLL_RATE=%q is not a number of calls a second", text)
	}
	return n
}

// rollKey names the counter of the nth call and of the nth subscriber. Each has five
// subscribers.
func rollKey(n, rate int) string { return fmt.Sprintf("roll-%d", n%max(1, rate/5)) }

// load is users under way, as many as there are calls a second: each has a client of its
// own, subscribes to a counter and makes its share of the calls.
type load interface {
	// started returns once each subscriber has had an event.
	started()
	// finish ends the calls, waits until each subscriber has had the last event of its
	// counter, and tells how it went.
	finish() tally
}

// tally is what the users have seen.
type tally struct {
	Counts   map[string]int64 `json:"counts"`   // calls that succeeded, by key
	Failures []string         `json:"failures"` // calls that did not, and events that were lost or doubled
	Events   int64            `json:"events"`
	Millis   []float64        `json:"millis"` // of calls: the median, the 99th percentile, the slowest
}

// TestP40_ARollingRestartFailsNoCall holds that a restart of each node in turn, under
// load, fails no call of the Go client, and that a subscription misses no event and gets
// none twice.
func TestP40_ARollingRestartFailsNoCall(t *testing.T) {
	t.Parallel()
	rollUnder(t, newGoLoad)
}

// TestP40_ARollingRestartFailsNoCallOfTypeScript holds the same of the TypeScript client
// in Node.
func TestP40_ARollingRestartFailsNoCallOfTypeScript(t *testing.T) {
	t.Parallel()
	rollUnder(t, newNodeLoad)
}

// rollUnder restarts each node of a cluster in turn while users are at work.
func rollUnder[L load](t *testing.T, start func(t *testing.T, url string, rate int) L) {
	t.Helper()
	f := newFleet(t, 3)
	var urls []string
	for _, node := range f.nodes {
		urls = append(urls, node.URL)
	}
	b := newBalancer(t, urls...)
	rate := rollRate(t)
	began := time.Now()
	users := start(t, b.url(), rate)
	users.started()
	for i := range f.nodes {
		old := f.nodes[i]
		stopping := time.Now()
		if err := old.Stop(); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
		t.Logf("node %d stopped in %s", i, time.Since(stopping).Round(time.Millisecond))
		f.nodes[i] = f.start()
		b.serve(old.URL, f.nodes[i].URL)
		f.awaitReady(i)
		wait(2 * time.Second) // it takes its share
	}
	seen := users.finish()
	took := time.Since(began)

	for _, failure := range seen.Failures {
		t.Error(failure)
	}
	var calls int64
	for n := range max(1, rate/5) {
		key := rollKey(n, rate)
		calls += seen.Counts[key]
		if got, err := f.count(n%3, key); err != nil || got != seen.Counts[key] || got == 0 {
			t.Errorf("%s counts %d (%v), and %d calls were answered", key, got, err, seen.Counts[key])
		}
	}
	t.Logf("%d calls, %.0f a second; %d subscribers, %d events; calls took %v ms (median, 99th percentile, slowest)",
		calls, float64(calls)/took.Seconds(), rate, seen.Events, seen.Millis)
}
