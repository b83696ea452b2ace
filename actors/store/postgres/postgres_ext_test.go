// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

// TestMain sets how many random histories the model test runs, each on a store of its
// own: TROUPE_MODEL_CHECKS, or 5.
func TestMain(m *testing.M) {
	checks := os.Getenv("TROUPE_MODEL_CHECKS")
	if checks == "" {
		checks = "5"
	}
	if err := flag.Set("rapid.checks", checks); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	pgtest.Main(m)
}

func openStore(t testing.TB, opts postgres.Options) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func closeStore(t testing.TB, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// target opens each store in a schema of its own, in one database: that is faster than
// a database for each, and the model test opens hundreds.
func target(t testing.TB, lanes int) storetest.Target {
	t.Helper()
	url := pgtest.Database(t)
	var mu sync.Mutex // guards the rest
	schemas := make(map[store.Store]postgres.Options)
	number := 0
	open := func(t testing.TB, opts postgres.Options) store.Store {
		t.Helper()
		s := openStore(t, opts)
		mu.Lock()
		defer mu.Unlock()
		schemas[s] = opts
		return s
	}
	return storetest.Target{
		Open: func(t testing.TB) store.Store {
			t.Helper()
			mu.Lock()
			number++
			opts := postgres.Options{URL: url, Schema: "s" + strconv.Itoa(number), Lanes: lanes}
			mu.Unlock()
			return open(t, opts)
		},
		Reopen: func(t testing.TB, s store.Store) store.Store {
			t.Helper()
			closeStore(t, s)
			mu.Lock()
			opts := schemas[s]
			mu.Unlock()
			return open(t, opts)
		},
		Damage: func(t testing.TB, s store.Store, addr store.Address) store.Store {
			t.Helper()
			mu.Lock()
			schema := schemas[s].Schema
			mu.Unlock()
			exec(t, session(t, url), `UPDATE `+schema+`.actor SET state = set_byte(state, 0, get_byte(state, 0) # 4) WHERE key = $1`, []byte(addr.Key))
			return s
		},
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.RunTarget(t, target(t, 2))
}

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(t testing.TB) store.Store {
		t.Helper()
		return openStore(t, postgres.Options{URL: pgtest.Database(t)})
	})
}
