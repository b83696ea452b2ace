// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/troupe-dev/troupe/actors/placement"
)

// tenant notes what it is told.
type tenant struct {
	told    []string
	refuses error
	during  func() // while it lets go
}

func (n *tenant) note(what string, shards []uint16) {
	if len(shards) == 3 {
		n.told = append(n.told, what)
	}
}

func (n *tenant) Gained(shards []uint16) { n.note("gained", shards) }
func (n *tenant) Lost(shards []uint16)   { n.note("lost", shards) }
func (n *tenant) Load() placement.Load   { return placement.Load{} }

func (n *tenant) Release(_ context.Context, shards []uint16) error {
	n.note("release", shards)
	if n.during != nil {
		n.during()
	}
	return n.refuses
}

func TestSingle(t *testing.T) {
	t.Parallel()
	var n tenant
	s := placement.NewSingle(placement.Node{ID: "a"}, 3)
	holds := func(want bool) {
		t.Helper()
		route, ok, err := s.Refresh(t.Context(), 2)
		if s.Holds(2) != want || ok != want || err != nil || want && route.Node.ID != "a" {
			t.Errorf("held: %t; route: %+v, %t, %v; want %t", s.Holds(2), route, ok, err, want)
		}
		nodes, err := s.Nodes(t.Context())
		if err != nil || len(nodes) != 1 || (nodes[0].Shards == 3) != want {
			t.Errorf("nodes: %+v, %v", nodes, err)
		}
	}
	holds(false)
	if err := s.Start(&n); err != nil {
		t.Fatal(err)
	}
	if s.Start(&n) == nil {
		t.Error("started twice")
	}
	holds(true)
	if s.Holds(3) {
		t.Error("holds a shard that is none")
	}
	n.refuses, n.during = errors.New("busy"), func() { holds(true) }
	if err := s.Drain(t.Context()); !errors.Is(err, n.refuses) {
		t.Errorf("Drain: %v", err)
	}
	holds(true)
	n.refuses = nil
	if err := s.Drain(t.Context()); err != nil {
		t.Errorf("Drain: %v", err)
	}
	holds(false)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if want := []string{"gained", "release", "release"}; !slices.Equal(n.told, want) {
		t.Errorf("the tenant was told %v, want %v", n.told, want)
	}
}

func TestSingleClosedWithoutADrain(t *testing.T) {
	t.Parallel()
	var n tenant
	s := placement.NewSingle(placement.Node{ID: "a"}, 3)
	if err := s.Start(&n); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if want := []string{"gained", "lost"}; !slices.Equal(n.told, want) || s.Holds(0) {
		t.Errorf("the tenant was told %v, want %v; held: %t", n.told, want, s.Holds(0))
	}
}
