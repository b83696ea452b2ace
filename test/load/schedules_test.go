// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// TestP28_Lateness measures how late schedules run that fall due over a few seconds
// beside calls. None may be early, and all must run.
func TestP28_Lateness(t *testing.T) { //nolint:paralleltest // it measures
	const window = 3 * time.Second
	due := size(200, 2000)
	var late latencies
	var early, ran atomic.Int64
	done := make(chan struct{})
	s := openStore(t, t.TempDir())
	b := newBed(t, s, func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
		run, scheduled := actors.ScheduleOf(ctx)
		if !scheduled {
			if req.GetAmount() > 1 {
				_, err := c.Schedule().After(time.Duration(req.GetAmount()), counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 1})
				return err
			}
			return nil
		}
		lateness := time.Since(run.Due)
		if late.add(lateness); lateness < 0 {
			early.Add(1)
		}
		if ran.Add(1) == int64(due) {
			close(done)
		}
		return nil
	})
	defer b.stop(t, s)
	for n := range due {
		after := time.Second + window*time.Duration(n)/time.Duration(due)
		if err := b.add(t.Context(), fmt.Sprint("scheduled", n), int64(after)); err != nil {
			t.Fatal(err)
		}
	}
	calls := b.interact(t, done)
	if early.Load() > 0 {
		t.Errorf("%d runs were early", early.Load())
	}
	t.Logf("P28: lateness beside calls: %v; calls: %v; bound: p99 < 1 s", &late, calls)
}

// TestP32_DueAtOnce has many schedules of sleeping actors fall due at one instant,
// while the server is down, and calls actors that are awake. All must run, in memory
// that does not grow with their number.
func TestP32_DueAtOnce(t *testing.T) { //nolint:paralleltest // it measures
	due, perActor := size(500, 100_000), 100
	var ran atomic.Int64
	done := make(chan struct{})
	act := func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
		if _, scheduled := actors.ScheduleOf(ctx); scheduled {
			if ran.Add(1) == int64(due) {
				close(done)
			}
			return nil
		}
		if req.GetAmount() != 2 {
			return nil
		}
		for range perActor {
			if _, err := c.Schedule().After(time.Second, counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 1}); err != nil {
				return err
			}
		}
		return nil
	}
	dir := t.TempDir()
	s := openStore(t, dir)
	b := newBed(t, s, act, actors.NoEventLog())
	alone := b.interact(t, forAWhile(time.Duration(size(300, 3000))*time.Millisecond))
	for n := range due / perActor {
		if err := b.add(t.Context(), fmt.Sprint("sleeper", n), 2); err != nil {
			t.Fatal(err)
		}
	}
	b.stop(t, s)
	before := ran.Load() // some may be due already
	<-time.After(time.Second)

	quiet := heap()
	s = openStore(t, dir)
	b = newBed(t, s, act, actors.NoEventLog())
	defer b.stop(t, s)
	var most atomic.Uint64
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
				most.Store(max(most.Load(), lastHeap()))
			}
		}
	}()
	began := time.Now()
	beside := b.interact(t, done)
	took := time.Since(began)
	<-watched
	if grown := int64(most.Load()) - int64(quiet); grown > 256<<20 {
		t.Errorf("the live heap grew by %d MiB", grown>>20)
	}
	if n := ran.Load(); n != int64(due) {
		t.Errorf("%d runs, want %d", n, due)
	}
	t.Logf("P32: %d due at once ran in %v (%d before the stop); calls alone: %v; beside them: %v: p99 %.1f times as long, bound 2; live heap +%d MiB",
		due, took.Round(time.Millisecond), before, alone, beside, float64(beside.at(0.99))/float64(max(alone.at(0.99), 1)),
		(int64(most.Load())-int64(quiet))>>20)
}
