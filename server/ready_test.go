// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// readiness holds what a node says of itself by both ways, once it says so: why it is
// not ready, or nothing if it is. It lives all the time.
func (m *member) readiness(t *testing.T, want string) {
	t.Helper()
	status, text, check := http.StatusOK, "ok\n", "SERVING"
	if want != "" {
		status, text, check = http.StatusServiceUnavailable, want+"\n", "NOT_SERVING"
	}
	eventually(t, "the node says of its readiness "+text, func() bool {
		response, body := do(t, m.client, m.url+"/readyz", "", nil)
		_, checked := do(t, m.client, m.url+"/grpc.health.v1.Health/Check", "{}", nil)
		return response.StatusCode == status && body == text && strings.Contains(checked, `"`+check+`"`)
	})
	if response, _ := do(t, m.client, m.url+"/healthz", "", nil); response.StatusCode != http.StatusOK {
		t.Errorf("/healthz: %d", response.StatusCode)
	}
}

// TestReadinessOfANode holds that a node is ready while it is part of its cluster, with
// shards or without, and takes calls then.
func TestReadinessOfANode(t *testing.T) {
	t.Parallel()
	c := placementtest.NewClusterWith(cluster.Config{Shards: 64, TTL: 4 * time.Second})
	shared := memory.New(memory.Options{Shards: 64})
	t.Cleanup(func() { _ = shared.Close() })
	one := newMember(t, c, shared, "one", nil)
	two := newMember(t, c, shared, "two", nil)
	t.Cleanup(c.Close)
	for _, m := range []*member{one, two} {
		m.readiness(t, "")
		eventually(t, "the node holds shards", m.holdsAny)
	}

	if err := c.Cordon(one.placement, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the drained node is empty", func() bool { return !one.holdsAny() })
	one.readiness(t, "") // what it gets, the others answer
	ctx, _ := at(t.Context(), "actor-key", "key")
	counters := counterv1connect.NewCounterClient(connect.NewClient(connecthttp.NewTransport(one.client, one.url)))
	if _, err := counters.Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
		t.Errorf("a call to a drained node: %v", err)
	}

	for _, m := range []*member{one, two} { // without shards and with
		m.placement.Cut(placementtest.CutRequests)
		m.readiness(t, "not part of the cluster")
		m.placement.Cut(placementtest.CutNothing)
		m.readiness(t, "")
	}

	two.health.drain()
	two.readiness(t, "stopping")
	one.readiness(t, "")
}

// holdsAny reports whether a node holds a shard.
func (m *member) holdsAny() bool {
	for shard := range uint16(64) {
		if m.placement.Holds(shard) {
			return true
		}
	}
	return false
}
