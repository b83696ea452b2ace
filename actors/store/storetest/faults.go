// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
)

var errInjected = errors.New("injected")

// testFaults runs the driver inside Faulty: what is reported and what is stored
// part ways exactly where they were told to.
func testFaults(t *testing.T, target Target) {
	ctx := context.Background()
	setup := func(t *testing.T) (*Faulty, store.Record, store.Record) {
		t.Helper()
		s := NewFaulty(open(t, target))
		a, b := record(s, address("a"), "old"), record(s, address("b"), "old")
		must(t, s, create(a), create(b))
		return s, next(a, "new"), next(b, "new")
	}
	states := func(t *testing.T, s store.Store, want ...string) {
		t.Helper()
		same(t, "states", []string{string(load(t, s, address("a")).State), string(load(t, s, address("b")).State)}, want)
	}

	t.Run("before", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t)
		s.FailCommit(errInjected)
		s.FailCommit(errInjected, a.Address)
		first, second := update(a), update(b)
		commit(s, first, second)
		if !errors.Is(first.Err, errInjected) || !errors.Is(second.Err, errInjected) {
			t.Errorf("errors are %v and %v", first.Err, second.Err)
		}
		states(t, s, "old", "old")
		commit(s, first, second)
		if !errors.Is(first.Err, errInjected) || second.Err != nil {
			t.Errorf("errors are %v and %v", first.Err, second.Err)
		}
		states(t, s, "old", "new")
		must(t, s, first)
		states(t, s, "new", "new")
		if got := s.Commits(); got != 4 {
			t.Errorf("%d commits, want 4", got)
		}
	})

	t.Run("after", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t)
		s.FailCommitAfter(store.ErrUnknown, a.Address)
		s.FailCommitAfter(store.ErrUnknown)
		first, second := update(a), update(b)
		commit(s, first, second)
		if !errors.Is(first.Err, store.ErrUnknown) || second.Err != nil {
			t.Errorf("errors are %v and %v", first.Err, second.Err)
		}
		states(t, s, "new", "new")
		commit(s, first)
		if !errors.Is(first.Err, store.ErrConflict) {
			t.Errorf("a refused write reports %v", first.Err)
		}
	})

	t.Run("hold", func(t *testing.T) {
		t.Parallel()
		s, a, b := setup(t)
		hold := s.HoldWaits()
		first, second := update(a), update(b)
		waited := make(chan *store.Write, 2)
		for _, w := range []*store.Write{first, second} {
			p := s.Commit(ctx, []*store.Write{w})
			go func() {
				p.Wait()
				waited <- w
			}()
		}
		<-hold.Reached()
		states(t, s, "new", "new")
		select {
		case w := <-waited:
			t.Fatalf("the Wait of %q returned", w.Record.Key)
		default:
		}
		hold.Release()
		hold.Release()
		<-waited
		<-waited
		if first.Err != nil || second.Err != nil {
			t.Errorf("errors are %v and %v", first.Err, second.Err)
		}
		must(t, s, update(next(a, "newer"))) // a released hold holds nobody
	})

	t.Run("reads", func(t *testing.T) {
		t.Parallel()
		s, a, _ := setup(t)
		reads := map[string]func() error{
			"Load":    func() error { _, err := s.Load(ctx, a.Address); return err },
			"Salvage": func() error { _, err := s.Salvage(ctx, a.Address, store.ID{}); return err },
			"LoadID":  func() error { _, err := s.LoadID(ctx, a.ID); return err },
			"Scan":    func() error { _, err := s.Scan(ctx, a.ID, store.KindKV, store.Range{}); return err },
			"Due":     func() error { _, err := s.Due(ctx, a.ID.Shard(), store.KindKV, day, nil, 1); return err },
			"List":    func() error { _, err := s.List(ctx, store.ListQuery{Namespace: "acme", Limit: 1}); return err },
		}
		for name, read := range reads {
			s.FailRead(errInjected)
			if err := read(); !errors.Is(err, errInjected) {
				t.Errorf("%s: %v", name, err)
			}
			if err := read(); err != nil {
				t.Errorf("%s once the fault is spent: %v", name, err)
			}
		}
	})
}
