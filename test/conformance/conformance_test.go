// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// minCases is less than the number of cases that suite.yaml selects of version 1.0.7:
// a run of a few would say little.
const minCases = 3600

var verdict = regexp.MustCompile(`(?m)^(\d+) passed, (\d+) failed$`)

// TestP48_ConnectConformance runs the suite, of which known-failing.txt says what may
// fail and why; it must fail then.
func TestP48_ConnectConformance(t *testing.T) {
	program := filepath.Join(t.TempDir(), "conformance")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "go", "tool", "connectconformance",
		"--mode", "server", "--conf", "suite.yaml", "--known-failing", "@known-failing.txt", "--", program).CombinedOutput()
	if err != nil {
		t.Errorf("connectconformance: %v", err)
	}
	found := verdict.FindSubmatch(out)
	if found == nil {
		t.Fatalf("no verdict:\n%s", out)
	}
	passed, _ := strconv.Atoi(string(found[1])) // digits
	t.Logf("%d cases of Connect's conformance suite passed, %s failed", passed, found[2])
	if t.Failed() || passed < minCases {
		t.Errorf("want at least %d to pass and none to fail:\n%s", minCases, out)
	}
}
