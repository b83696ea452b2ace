// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

// TestP8_AFullStoreRefusesChangesAndServesReads fails commits for want of room: the
// turns are undone, those that saw them too, and nothing else is. The log says so once.
func TestP8_AFullStoreRefusesChangesAndServesReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		logs := new(logBuffer)
		k := startKit(t, &kit{store: faulty, configure: func(cfg *actors.Config) { cfg.Logger = slog.New(slog.NewTextHandler(logs, nil)) }})
		k.mustAdd("a", 1)
		full := failure{connect.CodeResourceExhausted, "store_full", notExecuted}
		for range 3 {
			faulty.FailCommit(store.ErrFull)
			_, err := k.add(t.Context(), "a", 1)
			wantFailure(t, err, full)
			k.mustCount("a", 1)
		}
		faulty.FailCommit(store.ErrFull)
		_, err := k.add(t.Context(), "b", 1)
		wantFailure(t, err, full)
		if got := k.mustAdd("b", 1); got != 1 {
			t.Errorf("the actor that was refused counts %d, want 1", got)
		}
		if got := k.mustAdd("a", 1); got != 2 {
			t.Errorf("the count is %d, want 2", got)
		}
		if said := logs.String(); strings.Count(said, "no room is left") != 1 {
			t.Errorf("the log says %s", said)
		}
		pass(time.Minute)
		faulty.FailCommit(store.ErrFull)
		_, err = k.add(t.Context(), "a", 1)
		wantFailure(t, err, full)
		if said := logs.String(); strings.Count(said, "no room is left") != 2 {
			t.Errorf("after a minute the log says %s", said)
		}
	})
}
