// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// seeds is how many histories a test runs.
func seeds(t *testing.T) uint64 {
	t.Helper()
	text, ok := os.LookupEnv("TROUPE_SIM_SEEDS")
	if !ok {
		return usual
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("TROUPE_SIM_SEEDS: %v", err)
	}
	return n
}

// histories runs a configuration with seeds from 1 on, or with the one that
// TROUPE_SIM_SEED names, and tells of it.
func histories(t *testing.T, cfg Config) {
	t.Helper()
	if text, ok := os.LookupEnv("TROUPE_SIM_SEED"); ok {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("TROUPE_SIM_SEED: %v", err)
		}
		cfg.Seed, cfg.Trace = seed, func(line string) { t.Log(line) }
		if _, faults := Run(cfg); len(faults) > 0 {
			t.Fatal(faults)
		}
		return
	}
	var (
		last  = seeds(t)
		next  atomic.Uint64
		found atomic.Bool
		mu    sync.Mutex
		total Stats
		wg    sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !found.Load() {
				cfg := cfg
				if cfg.Seed = next.Add(1); cfg.Seed > last {
					return
				}
				stats, faults := Run(cfg)
				mu.Lock()
				total.Steps += stats.Steps
				total.Commits += stats.Commits
				total.Refused += stats.Refused
				total.Moves += stats.Moves
				total.Failovers += stats.Failovers
				mu.Unlock()
				if len(faults) > 0 && !found.Swap(true) {
					t.Errorf("seed %d: %v\nrun it alone: TROUPE_SIM_SEED=%d go test -v -run '^%s$' ./internal/sim", cfg.Seed, faults, cfg.Seed, t.Name())
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d histories: %+v", last, total)
	if !found.Load() && (total.Commits == 0 || total.Refused == 0 || total.Moves == 0) {
		t.Error("nothing happened")
	}
}

// TestP1_NoCommitOfAnotherHolder and the promise that comes with it, that no two nodes
// hold a shard at once (P3), under pauses, partitions, clocks that jump and drift,
// kills, drains and a slow database.
func TestP1_NoCommitOfAnotherHolder(t *testing.T) {
	t.Parallel()
	histories(t, Config{Shards: 24, Nodes: 3, Faults: time.Minute})
}

// TestP6_ADatabaseThatForgets adds failovers that lose commits and change the clock.
func TestP6_ADatabaseThatForgets(t *testing.T) {
	t.Parallel()
	histories(t, Config{Shards: 24, Nodes: 3, Faults: time.Minute, Failovers: true})
}

// TestASeedIsAHistory holds that a seed gives the same history each time.
func TestASeedIsAHistory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		var told [2][]string
		for i := range told {
			Run(Config{
				Seed: seed, Shards: 24, Nodes: 4, Faults: 30 * time.Second, Failovers: true,
				Trace: func(line string) { told[i] = append(told[i], line) },
			})
		}
		if len(told[0]) == 0 || len(told[0]) != len(told[1]) {
			t.Fatalf("seed %d: histories of %d and %d lines", seed, len(told[0]), len(told[1]))
		}
		for i, line := range told[0] {
			if line != told[1][i] {
				t.Fatalf("seed %d, line %d: %q, and then %q", seed, i, line, told[1][i])
			}
		}
	}
}
