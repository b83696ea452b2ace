// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

// beforeScan is a store that does something before the next read of rows.
type beforeScan struct {
	store.Store

	do atomic.Pointer[func()]
}

func (s *beforeScan) Scan(ctx context.Context, id store.ID, kind store.Kind, r store.Range) ([]store.Row, error) {
	if do := s.do.Swap(nil); do != nil {
		(*do)()
	}
	return s.Store.Scan(ctx, id, kind, r)
}

// TestP10_RowsThatAreShownAreDurable has a commit begin after an actor was described and
// before its rows are read.
func TestP10_RowsThatAreShownAreDurable(t *testing.T) {
	t.Parallel()
	for name, show := range map[string]func(p *planner) error{
		"export": func(p *planner) error {
			_, _, _, err := p.Export(p.tb.Context(), p.target("a"), nil, 100, 1<<20)
			return err
		},
		"dead list": func(p *planner) error {
			target := p.target("a")
			_, err := p.DeadSchedules(p.tb.Context(), actors.DeadQuery{Namespace: "default", Actor: &target, Limit: 100})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				faulty := storetest.NewFaulty(memory.New(memory.Options{}))
				s, d := &beforeScan{Store: faulty}, new(planDiary)
				p := newPlanner(t, s, d)
				d.acts(func(context.Context, *counter, actors.ScheduleRun) error {
					return actors.Errorf(connect.CodeAborted, "no", "never")
				})
				p.do("a", after(time.Second, actors.Name("job"), actors.MaxAttempts(1)))
				pass(time.Minute)
				hold, dropped := faulty.HoldWaits(), make(chan error, 1)
				drop := func() {
					go func() { dropped <- p.DropSchedule(t.Context(), p.target("a"), "job") }()
					<-hold.Reached()
				}
				s.do.Store(&drop)
				shown := make(chan error, 1)
				go func() { shown <- show(p) }()
				synctest.Wait()
				if len(shown) > 0 {
					t.Error("what is not durable was shown")
				}
				hold.Release()
				if err := <-dropped; err != nil {
					t.Error(err)
				}
				if err := <-shown; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// fullAtList is a store for which a write finds no room at each List.
type fullAtList struct {
	store.Store

	lists int
	write func()
}

func (s *fullAtList) List(ctx context.Context, q store.ListQuery) ([]store.Record, error) {
	if s.lists++; s.lists > 9 {
		return nil, errors.New("the list is read for ever")
	}
	records, err := s.Store.List(ctx, q)
	s.write()
	return records, err
}

// TestP8_AFullStoreIsListed holds that writes which find no room, and were never shown,
// keep nobody from reading.
func TestP8_AFullStoreIsListed(t *testing.T) {
	t.Parallel()
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	s := &fullAtList{Store: faulty}
	k := newKit(t, s)
	k.mustAdd("a", 1)
	s.write = func() {
		faulty.FailCommit(store.ErrFull)
		if _, err := k.add(t.Context(), "a", 1); err == nil {
			t.Error("there was room")
		}
	}
	list, err := k.List(t.Context(), store.ListQuery{Namespace: "default", Limit: 10})
	if err != nil || len(list) != 1 || s.lists != 1 {
		t.Errorf("%d actors are listed by %d reads, %v", len(list), s.lists, err)
	}
}
