// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// lockedBuffer is a log that grows while a test reads it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) lines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), "\n")
}

// TestP43_WhatIsDueWaitsForTheLift holds that a schedule and a message of an actor in
// quarantine are not tried again and again, and go on once it is lifted.
func TestP43_WhatIsDueWaitsForTheLift(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logs := new(lockedBuffer)
		k := startKit(t, &kit{configure: func(cfg *actors.Config) {
			cfg.Logger = slog.New(slog.NewTextHandler(logs, nil))
		}})
		one := &counterv1.IncrementRequest{Amount: 1}
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			if req.GetAmount() != 10 {
				return nil
			}
			if _, err := c.Schedule().After(time.Minute, counterv1connect.CounterIncrementProcedure, one); err != nil {
				return err
			}
			return c.Outbox().Send(actors.Peer{Key: []string{"b"}}, counterv1connect.CounterIncrementProcedure, one)
		}
		ctx := t.Context()
		target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
		k.mustAdd("a", 10)
		if _, err := k.Quarantine(ctx, target); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Minute)
		before := logs.lines()
		pass(time.Hour)
		if got := logs.lines() - before; got != 0 {
			t.Errorf("%d lines were logged in an hour of quarantine", got)
		}
		if _, err := k.Lift(ctx, target); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		k.mustCount("a", 11)
		k.mustCount("b", 1)
	})
}
