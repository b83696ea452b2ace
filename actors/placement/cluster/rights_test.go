// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
)

// holder returns a member that holds every other shard.
func holder(t testing.TB) *Member {
	t.Helper()
	m, err := NewMember(Config{Shards: 4096}, placement.Node{ID: "a"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for s := range uint16(4096) {
		if s%2 == 0 {
			m.rights.gain([]uint16{s})
		}
	}
	m.rights.lease(m.now(), true)
	return m
}

func TestHolds(t *testing.T) { //nolint:paralleltest // it counts allocations
	m := holder(t)
	for s := range uint16(5000) {
		if got := m.Holds(s); got != (s < 4096 && s%2 == 0) {
			t.Errorf("shard %d is held: %t", s, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { m.Holds(2) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	now := m.now()
	for name, since := range map[string]Instant{
		"monotonic": {Mono: now.Mono - 8*time.Second, Wall: now.Wall},
		"wall":      {Mono: now.Mono, Wall: now.Wall - 8*time.Second},
	} {
		m.rights.lease(since, true)
		if m.Holds(2) {
			t.Errorf("held though the lease has ended by the %s clock", name)
		}
	}
	m.rights.lease(Instant{Mono: now.Mono, Wall: now.Wall + time.Hour}, true) // it was set back
	if !m.Holds(2) {
		t.Error("not held though the lease lasts")
	}
	m.rights.lease(Instant{}, false)
	if m.Holds(2) {
		t.Error("held without a lease")
	}
}

func BenchmarkHolds(b *testing.B) {
	m := holder(b)
	b.ReportAllocs()
	for b.Loop() {
		if !m.Holds(2) {
			m.rights.lease(m.now(), true)
		}
	}
}

func BenchmarkRoute(b *testing.B) {
	m := holder(b)
	m.learn(Found{Shard: 2, Route: placement.Route{Node: m.Self(), Epoch: 1}}, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := m.Route(2); !ok {
			b.Fatal("no route")
		}
	}
}
