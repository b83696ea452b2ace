// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"os"
	"testing"
	"time"
)

// TestALargeCluster runs 100 nodes, or 1,000 if TROUPE_SIM_SCALE is set, whose figures
// docs/scaling.md has.
func TestALargeCluster(t *testing.T) {
	t.Parallel()
	cfg := Config{Seed: 1, Shards: 1024, Nodes: 100}
	if os.Getenv("TROUPE_SIM_SCALE") != "" {
		cfg.Shards, cfg.Nodes = 4096, 1000
	}
	scenes, faults := Scale(cfg)
	for _, fault := range faults {
		t.Error(fault)
	}
	share := int(cfg.Shards)/cfg.Nodes + 1
	most := map[string]int{ // of shards that may move
		"one node dies":         share,
		"a tenth dies at once":  share * cfg.Nodes / 10,
		"one node joins":        2 * share,
		"a tenth joins at once": 2 * share * cfg.Nodes / 10,
		"one node drains":       2 * share,
	}
	for _, s := range scenes {
		t.Logf("%-24s %4d nodes: %5d moved, %4d unheld at worst, all held after %6.1fs, balanced after %6.1fs; %.0f beats/s, %.0f reads/s, %.1f others/s",
			s.Name, s.Nodes, s.Moved, s.Unheld, s.Recovered.Seconds(), s.Balanced.Seconds(), s.Beats, s.Reads, s.Others)
		if s.Balanced == 0 {
			t.Errorf("%s: not balanced within ten minutes", s.Name)
		}
		if bound, ok := most[s.Name]; ok && s.Moved > bound {
			t.Errorf("%s: %d shards moved, %d are enough", s.Name, s.Moved, bound)
		}
		if s.Name != scenes[0].Name && s.Recovered > 15*time.Second {
			t.Errorf("%s: recovered after %v", s.Name, s.Recovered)
		}
	}
}
