// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"testing"

	"github.com/troupe-dev/troupe/actors/placement/cluster"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
	"github.com/troupe-dev/troupe/actors/placement/postgres"
	store "github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// site is a database, and the stores of the processes that use it.
type site struct {
	url    string
	cfg    cluster.Config
	stores []*store.Store
}

var _ postgres.Store = (*store.Store)(nil)

func open(t testing.TB, cfg cluster.Config) *site {
	t.Helper()
	return &site{url: pgtest.Database(t), cfg: cfg}
}

func (s *site) Process(t testing.TB) (cluster.Authority, string) {
	t.Helper()
	opened, err := store.Open(t.Context(), store.Options{URL: s.url, Shards: s.cfg.Shards})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	s.stores = append(s.stores, opened)
	authority, err := postgres.New(s.cfg, opened)
	if err != nil {
		t.Fatal(err)
	}
	return authority, opened.NodeID()
}

func (s *site) MayCommit(t testing.TB, stay string) bool {
	t.Helper()
	var may bool
	err := s.stores[len(s.stores)-1].Pool().QueryRow(t.Context(),
		`SELECT EXISTS (SELECT FROM lane WHERE node = $1::text::uuid AND NOT dead)`, stay).Scan(&may)
	if err != nil {
		t.Fatal(err)
	}
	return may
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	placementtest.Run(t, func(t testing.TB, cfg cluster.Config) placementtest.Site { return open(t, cfg) })
}
