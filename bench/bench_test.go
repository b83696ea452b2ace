// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store/embedded"
)

// TestMain lets the test program be the servers too, as the benchmark itself is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		if err := serve(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestEveryRowRuns says nothing about the figures.
func TestEveryRowRuns(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts two dozen servers")
	}
	profiles := t.TempDir()
	rows := everyRowRuns(t, false, "-actors", "300", "-streams", "100", "-dir", t.TempDir(), "-profile", profiles)
	if files, err := filepath.Glob(filepath.Join(profiles, "*.pprof")); err != nil || len(files) < rows {
		t.Errorf("%d profiles, %v", len(files), err)
	}
}

// TestEveryClusterRowRuns does the same for the nodes over PostgreSQL, whose user could
// not reach a directory of the test's.
func TestEveryClusterRowRuns(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a PostgreSQL and a dozen nodes")
	}
	everyRowRuns(t, true, "-cluster")
}

// everyRowRuns runs the groups of a cluster, or the others, and returns how many there
// are.
func everyRowRuns(t *testing.T, cluster bool, args ...string) int {
	t.Helper()
	file := filepath.Join(t.TempDir(), "figures.json")
	var out bytes.Buffer
	err := bench(append(args, "-rounds", "1", "-duration", "50ms", "-callers", "8", "-json", file, "-v"), &out)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var figures struct {
		Rows []summary `json:"rows"`
	}
	if err := json.Unmarshal(data, &figures); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range figures.Rows {
		seen[r.ID] = true
		if r.Error != "" || len(r.Ours) == 0 || len(r.Limits) > 0 && len(r.Limits) != len(r.Ours) {
			t.Errorf("%s %s: %d values, limit %d, %s", r.ID, r.Name, len(r.Ours), len(r.Limits), r.Error)
		}
		if !strings.Contains(out.String(), r.Name) {
			t.Errorf("the table does not show %s", r.Name)
		}
	}
	for _, g := range groups {
		if seen[g.id] != (g.cluster == cluster) {
			t.Errorf("group %s has rows: %t", g.id, seen[g.id])
		}
	}
	return len(seen)
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-rounds", "0"}, {"-nonsense"}, {"-duration", "-1s"}} {
		if bench(args, new(bytes.Buffer)) == nil {
			t.Errorf("%q is accepted", args)
		}
	}
	if serve(nil) == nil || serve([]string{"nothing"}) == nil {
		t.Error("serve starts something that does not exist")
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	rows := []*row{
		{
			ID: "x", Name: "rate", Limit: "bare", Unit: "/s", Score: ratio,
			Limits: []float64{1000, 2000, 4_000_000}, Ours: []float64{800, 1800, 2_000_000},
			Goals: []goal{atLeast(ofScore, 0.75), atLeast(ofOurs, 1500)},
		},
		{ID: "x", Name: "cost", Limit: "bare", Unit: "µs", Score: inverse, Limits: []float64{10}, Ours: []float64{20}, Goals: []goal{atLeast(ofScore, 0.95)}},
		{ID: "x", Name: "latency", Limit: "fsync", Unit: "µs", Score: difference, Limits: []float64{100}, Ours: []float64{220}, Goals: []goal{atMost(ofScore, 150)}},
		{ID: "x", Name: "size", Unit: "B", Ours: []float64{2048, 1024}, Goals: []goal{atMost(ofOurs, 1535)}},
		{ID: "x", Name: "no goal", Limit: "store", Unit: "/s", Score: ratio, Limits: []float64{1}, Ours: []float64{2}},
		{ID: "x", Name: "broken", Err: "why", Goals: []goal{atLeast(ofOurs, 1)}},
	}
	want := []string{
		"bare 2,000 /s 1,800 /s 0.80 0.50–0.90 ≥ 0.75, ≥ 1,500 /s yes",
		"bare 10 µs 20 µs 0.50 0.50–0.50 ≥ 0.95 NO",
		"fsync 100 µs 220 µs +120 µs +120–+120 ≤ +150 µs yes",
		"– 1,536 B – 1,024–2,048 ≤ 1,535 B NO",
		"store 1 /s 2 /s 2.00 2.00–2.00",
		"failed: why",
	}
	var out bytes.Buffer
	if err := printTable(&out, rows, false); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")[1:]
	for i, r := range rows {
		if got := strings.Join(strings.Fields(strings.TrimPrefix(lines[i][1:], "  "+r.Name)), " "); got != want[i] {
			t.Errorf("%s: %q, want %q", r.Name, got, want[i])
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("nothing has a median")
	}
}

func TestGroupCommit(t *testing.T) {
	t.Parallel()
	st, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &storeServer{dir: t.TempDir(), store: st, group: newGroupCommit(st)}
	for _, c := range []command{
		{Do: "commit", Keys: 1, N: 8},
		{Do: "commit", Keys: 10, N: 8},
		{Do: "create", N: 8},
		{Do: "load", N: 2},
		{Do: "fsync", N: 100},
	} {
		c.For = 20 * time.Millisecond
		answer, err := s.handle(c)
		if err != nil || answer.Ops == 0 || answer.P50 == 0 {
			t.Errorf("%s: %d operations, %v", c.Do, answer.Ops, err)
		}
	}
	turns := s.actors[0].record.Revision
	if err := s.group.update(s.actors[0]); err != nil {
		t.Fatal(err)
	}
	record, err := st.Load(t.Context(), s.actors[0].record.Address)
	if err != nil || record.Revision != turns+1 {
		t.Errorf("revision %d after %d turns, %v", record.Revision, turns+1, err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
