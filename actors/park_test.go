// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/gen/go/board/v1/boardv1connect"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/proto"
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

// TestP43_WhatIsDueOfAnUndecodableActorWaits has a schedule fall due of an actor whose
// state does not decode, which only its wake finds out. It is not tried over and over,
// neither by this server nor by the next ones more than once each, and runs when the
// actor is repaired.
func TestP43_WhatIsDueOfAnUndecodableActorWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logs := new(lockedBuffer)
		d := &planDiary{log: slog.New(slog.NewTextHandler(logs, nil))}
		p := newPlanner(t, memory.New(memory.Options{}), d)
		p.do("a", after(time.Minute))
		p.stop()
		r := p.stored("a")
		state := r.State
		r.State = []byte{0xff, 0xff}
		p.put(r)
		s := p.store.(*memory.Store)
		var revision uint64
		for restart := range 4 {
			s = s.Reopen()
			p = newPlanner(t, s, d)
			pass(2 * time.Minute)
			if now := p.stored("a").Revision; restart == 0 {
				revision = now
			} else if now > revision+2*uint64(restart) {
				t.Errorf("start %d: the revision has gone from %d to %d", restart, revision, now)
			}
			before, was := logs.lines(), p.stored("a").Revision
			pass(time.Hour)
			if got, now := logs.lines()-before, p.stored("a").Revision; got != 0 || now != was {
				t.Errorf("in an hour %d lines were logged, and the revision went from %d to %d", got, was, now)
			}
			if restart < 3 {
				p.stop()
			}
		}
		_, err := p.Repair(t.Context(), p.target("a"), p.stored("a").Revision, func(m proto.Message) error { return proto.Unmarshal(state, m) })
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if runs := d.take(); len(runs) != 1 || runs[0].Attempt != 1 {
			t.Errorf("the runs are %+v", runs)
		}
	})
}

// TestP44_WhatIsDueWaitsOutTheBackOff has a schedule fall due of an actor that fails to
// wake: it is tried when the actor is, and what happens between is not logged.
func TestP44_WhatIsDueWaitsOutTheBackOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logs := new(lockedBuffer)
		d := &planDiary{log: slog.New(slog.NewTextHandler(logs, nil))}
		var wakes atomic.Int64
		var broken atomic.Bool
		p := newPlanner(t, memory.New(memory.Options{}), d, actors.SleepAfter(time.Second), actors.OnWake(func(*counter, context.Context) error {
			if wakes.Add(1); broken.Load() {
				return errors.New("it does not wake")
			}
			return nil
		}))
		p.do("a", after(time.Minute))
		pass(10 * time.Second)
		broken.Store(true)
		pass(10 * time.Minute) // until the back-off has its full length
		wakes.Store(0)
		before := logs.lines()
		pass(time.Hour)
		if lines, n := logs.lines()-before, int(wakes.Load()); n < 100 || n > 121 || lines > n {
			t.Errorf("in an hour the actor was woken %d times and %d lines were logged", n, lines)
		}
		broken.Store(false)
		pass(31 * time.Second)
		if runs := d.take(); len(runs) != 1 || runs[0].Attempt != 1 {
			t.Errorf("the runs are %+v", runs)
		}
	})
}

// TestWhatIsDueOfAnUnknownTypeWaits has a server that lacks the type of an actor with a
// schedule: it says so once, and the server that has it runs it.
func TestWhatIsDueOfAnUnknownTypeWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logs := new(lockedBuffer)
		d := &planDiary{log: slog.New(slog.NewTextHandler(logs, nil))}
		s := memory.New(memory.Options{})
		p := newPlanner(t, s, d)
		p.do("a", after(time.Minute))
		p.stop()
		s = s.Reopen()
		registry := actors.NewRegistry()
		actors.Register(registry, boardv1connect.RegisterBoardHandler, func() *board { return &board{kit: &boardKit{}} })
		host, err := actors.NewHost(actors.Config{Registry: registry, Store: s, Logger: slog.New(slog.NewTextHandler(logs, nil))})
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		if got := logs.lines(); got != 1 {
			t.Errorf("%d lines were logged in an hour", got)
		}
		(&kit{Host: host, tb: t}).stop()
		newPlanner(t, s.Reopen(), d)
		pass(time.Second)
		if runs := d.take(); len(runs) != 1 {
			t.Errorf("the runs are %+v", runs)
		}
	})
}
