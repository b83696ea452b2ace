// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/embedded"
)

// crashing is the variable that tells the program of this test that it is the
// server which dies, and where its store is.
const crashing = "TROUPE_TEST_CRASHING"

// TestP30_ARunThatExits has a real process exit in each run of a schedule, with its
// store on a disk.
func TestP30_ARunThatExits(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(crashing); dir != "" {
		serveUntilDead(t, dir)
		return
	}
	dir := t.TempDir()
	const died = 7
	for start := 1; ; start++ {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=60s") //nolint:gosec // itself
		cmd.Env = append(os.Environ(), crashing+"="+dir)
		out, err := cmd.CombinedOutput()
		exit, ok := errors.AsType[*exec.ExitError](err)
		switch {
		case start <= 3 && ok && exit.ExitCode() == died:
			continue
		case start == 4 && err == nil:
			return
		}
		t.Fatalf("start %d ended with %v:\n%s", start, err, out)
	}
}

// serveUntilDead makes a schedule that ends the process, unless there is one, and
// returns once it is in the dead list.
func serveUntilDead(t *testing.T, dir string) {
	t.Helper()
	s, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := new(planDiary)
	d.acts(func(context.Context, *counter, actors.ScheduleRun) error {
		os.Exit(7)
		return nil
	})
	p := newPlanner(t, s, d)
	for made := false; ; {
		if list := p.dead(); len(list) == 1 {
			if list[0].Attempts != 3 || !strings.Contains(list[0].LastError, "died") {
				t.Errorf("the dead list is %+v", list)
			}
			break
		}
		p.do("a", func(ctx context.Context, c *counter) error {
			if _, found, err := c.Schedule().Get(ctx, "poison"); found || made || err != nil {
				return err
			}
			made = true
			return after(0, actors.Name("poison"))(ctx, c)
		})
		select {
		case <-t.Context().Done():
			t.Fatal("the schedule neither ran nor died")
		case <-time.After(10 * time.Millisecond): // the next look decides
		}
	}
	p.stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
