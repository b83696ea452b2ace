// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// nodeLoad is the same load of clients/typescript, in a process of Node.
type nodeLoad struct {
	t     *testing.T
	input io.Closer
	lines *bufio.Scanner
}

func newNodeLoad(t *testing.T, url string, rate int) *nodeLoad {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "roll.mjs", url, strconv.Itoa(rate))
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("node: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, or the test has failed
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 16<<20) // a report may name each call
	return &nodeLoad{t: t, input: input, lines: lines}
}

// line returns the next line that the process prints.
func (l *nodeLoad) line() []byte {
	l.t.Helper()
	if !l.lines.Scan() {
		l.t.Fatalf("node ended (%v): is node_modules there (make setup)?", l.lines.Err())
	}
	return l.lines.Bytes()
}

func (l *nodeLoad) started() {
	l.t.Helper()
	if got := string(l.line()); got != "started" {
		l.t.Fatalf("node says %q", got)
	}
}

func (l *nodeLoad) finish() tally {
	l.t.Helper()
	if err := l.input.Close(); err != nil {
		l.t.Fatal(err)
	}
	var seen tally
	if err := json.Unmarshal(l.line(), &seen); err != nil {
		l.t.Fatal(err)
	}
	return seen
}
