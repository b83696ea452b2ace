// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	"github.com/troupe-dev/troupe/gen/go/board/v1/boardv1connect"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
)

var dataLoss = failure{connect.CodeDataLoss, "data_loss", notExecuted}

// restartDamaged has a new host go on with the store of a kit, after the record of the
// counter "a" was damaged: it says of itself that it is younger than it is.
func (k *kit) restartDamaged() *kit {
	k.tb.Helper()
	k.stop()
	s := k.store.(*memory.Store).Reopen()
	s.Damage(k.to(counterv1connect.CounterGetProcedure, "a", nil).Address, func(r *store.Record) {
		r.State[0] ^= 4
		r.Revision, r.EventHead = 1, 0
	})
	return startKit(k.tb, &kit{store: s, increment: k.increment, configure: k.configure})
}

func setCount(n int64) func(proto.Message) error {
	return func(state proto.Message) error {
		proto.Merge(state, &counterv1.CounterState{Count: n})
		return nil
	}
}

// TestP14_ADamagedRecordIsExportedRepairedAndDestroyed goes the whole way: refused,
// shown, exported, and then cured in each way, by key and by id.
func TestP14_ADamagedRecordIsExportedRepairedAndDestroyed(t *testing.T) {
	t.Parallel()
	for name, cure := range map[string]func(*kit, actors.Target, uint64) (actors.Description, error){
		"repair": func(k *kit, target actors.Target, revision uint64) (actors.Description, error) {
			return k.Repair(k.tb.Context(), target, revision, setCount(41))
		},
		"reset": func(k *kit, target actors.Target, revision uint64) (actors.Description, error) {
			return k.Repair(k.tb.Context(), target, revision, func(proto.Message) error { return nil })
		},
		"destroy": func(k *kit, target actors.Target, _ uint64) (actors.Description, error) {
			id, err := k.Destroy(k.tb.Context(), target)
			return actors.Description{Record: store.Record{ID: id}}, err
		},
	} {
		for _, by := range []string{"key", "id"} {
			t.Run(name+" by "+by, func(t *testing.T) {
				t.Parallel()
				k := newKit(t, nil)
				for range 3 {
					k.mustAdd("a", 1)
				}
				was := k.stored("a")
				k = k.restartDamaged()
				target := actors.Target{Address: was.Address}
				if by == "id" {
					target = actors.Target{Address: store.Address{Namespace: was.Namespace}, ID: was.ID}
				}
				for range 2 {
					_, err := k.add(t.Context(), "a", 1)
					wantFailure(t, err, dataLoss)
					k.mustAdd("b", 1)
				}
				if d := k.describe("a"); d.Status != actors.StatusQuarantined || !d.Damaged || d.ID != was.ID || d.LastError == "" {
					t.Errorf("the actor is described as %+v", d)
				}
				listed, err := k.List(t.Context(), store.ListQuery{Namespace: was.Namespace, Limit: 9})
				if err != nil || len(listed) != 2 || listed[0].Status != actors.StatusQuarantined || !listed[0].Damaged || listed[1].Damaged {
					t.Errorf("List: %+v, %v", listed, err)
				}
				d, rows, _, err := k.Export(t.Context(), target, nil, 100, 1<<20)
				if err != nil || !d.Damaged || len(d.State) != len(was.State) || d.ID != was.ID || len(rows) < 3 {
					t.Fatalf("Export: %+v, %d rows, %v", d, len(rows), err)
				}
				_, err = k.Repair(t.Context(), target, d.Revision+1, setCount(41))
				wantFailure(t, err, failure{connect.CodeAborted, "revision_mismatch", notExecuted})
				_, err = k.Repair(t.Context(), target, d.Revision, func(proto.Message) error { return errors.New("no state at all") })
				wantFailure(t, err, failure{connect.CodeInvalidArgument, "bad_actor_state", notExecuted})
				_, err = k.Quarantine(t.Context(), target) // has nothing to put in its place
				wantFailure(t, err, dataLoss)
				if d, err := k.Lift(t.Context(), target); err != nil || !d.Damaged {
					t.Errorf("Lift: %+v, %v", d, err)
				}
				_, err = k.add(t.Context(), "a", 1)
				wantFailure(t, err, dataLoss)
				if r, err := k.store.Salvage(t.Context(), was.Address, store.ID{}); !errors.Is(err, store.ErrCorrupt) || r.Revision != 1 {
					t.Fatalf("stored: %+v, %v", r, err)
				}

				cured, err := cure(k, target, d.Revision)
				if err != nil || cured.ID != was.ID {
					t.Fatalf("%+v, %v", cured, err)
				}
				want := map[string]int64{"repair": 42, "reset": 1, "destroy": 1}[name]
				if got := k.mustAdd("a", 1); got != want {
					t.Errorf("the count is %d, want %d", got, want)
				}
				now := k.describe("a")
				if now.Damaged || now.Status != actors.StatusAwake {
					t.Errorf("the actor is described as %+v", now)
				}
				if name == "destroy" {
					if now.ID == was.ID || now.Revision > 3 {
						t.Errorf("the heir is described as %+v", now)
					}
					if rows, err := k.store.Scan(t.Context(), was.ID, store.KindEvent, store.Range{}); err != nil || len(rows) > 0 {
						t.Errorf("%d events are left, %v", len(rows), err)
					}
				} else if now.ID != was.ID || now.Revision <= was.Revision+3 || now.EventHead <= was.EventHead+3 {
					t.Errorf("the actor was %+v and is described as %+v", was, now)
				}
			})
		}
	}
}

// TestP34_NoCursorOutlivesARepairOfDamage takes cursors before the damage, of numbers
// that the log, by what the damaged record says, has not reached.
func TestP34_NoCursorOutlivesARepairOfDamage(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	var cursors []string
	for range 20 {
		k.mustAdd("a", 1)
		cursors = append(cursors, k.cursor("a"))
	}
	k = k.restartDamaged()
	d := k.describe("a")
	if _, err := k.Repair(t.Context(), actors.Target{Address: d.Address}, d.Revision, setCount(0)); err != nil {
		t.Fatal(err)
	}
	for n := range 3 { // however far the new log has come
		for _, cursor := range cursors {
			wantFailure(t, await(t, "refusal", k.resume("a", cursor).ended), outOfRange)
		}
		for range 10 {
			k.mustAdd("a", 1)
		}
		t.Logf("%d events later", 10*(n+1))
	}
	sub := k.resume("a", k.cursor("a"))
	if !await(t, "opened frame", sub.opened).GetResumed() {
		t.Fatal("the stream is not resumed")
	}
	k.mustAdd("a", 1)
	if event := await(t, "event", sub.frames); event.GetCountChanged().GetCount() != 31 {
		t.Errorf("the event is %v", event)
	}
}

// TestP33_AStreamEndsWhenItsActorIsRepaired has a stream open on an actor that sleeps
// when its record is damaged.
func TestP33_AStreamEndsWhenItsActorIsRepaired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		k := newKit(t, s, actors.SleepAfter(time.Second))
		k.mustAdd("a", 1)
		sub := k.subscribe("a", nil)
		await(t, "opened frame", sub.opened)
		pass(10 * time.Second)
		d := k.describe("a")
		s.Damage(d.Address, func(*store.Record) {})
		if _, err := k.Repair(t.Context(), actors.Target{Address: d.Address}, d.Revision, setCount(7)); err != nil {
			t.Fatal(err)
		}
		if closed := await(t, "closing frame", sub.closed); closed.GetReason() != troupev1.CloseReason_CLOSE_REASON_RESTARTED {
			t.Errorf("the stream ended with %v", closed)
		}
		wantFailure(t, await(t, "refusal", k.resume("a", sub.closingInfo.GetCursor()).ended), outOfRange)
		k.mustCount("a", 7)
	})
}

// TestP14_AFailedRepairOfDamageChangesNothing has the repair's commit fail.
func TestP14_AFailedRepairOfDamageChangesNothing(t *testing.T) {
	t.Parallel()
	inner := memory.New(memory.Options{})
	s := storetest.NewFaulty(inner)
	seed(t, s, "a", 0, encode(t, &counterv1.CounterState{Count: 1}))
	k := newKit(t, s)
	inner.Damage(k.to(counterv1connect.CounterGetProcedure, "a", nil).Address, func(*store.Record) {})
	d := k.describe("a")
	target := actors.Target{Address: d.Address}
	s.FailCommit(errors.New("no disk"))
	if _, err := k.Repair(t.Context(), target, d.Revision, setCount(7)); err == nil {
		t.Fatal("the repair went well")
	}
	_, err := k.count(t.Context(), "a")
	wantFailure(t, err, dataLoss)
	if again := k.describe("a"); !again.Damaged || again.Revision != d.Revision {
		t.Errorf("the actor is described as %+v", again)
	}
	if _, err := k.Repair(t.Context(), target, d.Revision, setCount(7)); err != nil {
		t.Fatal(err)
	}
	k.mustCount("a", 7)
}

// TestP14_DamageBehindAnActorInMemory has the record damaged of an actor that is awake:
// its next change is refused by the store.
func TestP14_DamageBehindAnActorInMemory(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	k := newKit(t, s)
	target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
	damage := func() {
		k.mustAdd("a", 1)
		s.Damage(target.Address, func(*store.Record) {})
	}
	damage()
	if d := k.describe("a"); d.Status != actors.StatusAwake || !d.Damaged || d.LastError == "" {
		t.Errorf("the actor is described as %+v", d)
	}
	for range 2 {
		_, err := k.add(t.Context(), "a", 1)
		wantFailure(t, err, dataLoss)
	}
	if d := k.describe("a"); d.Status != actors.StatusQuarantined {
		t.Errorf("the actor is described as %+v", d)
	}
	if _, err := k.Repair(t.Context(), target, k.describe("a").Revision, setCount(7)); err != nil {
		t.Fatal(err)
	}
	k.mustCount("a", 7)
	damage()
	if _, err := k.Repair(t.Context(), target, k.describe("a").Revision, setCount(9)); err != nil {
		t.Fatal(err)
	}
	k.mustCount("a", 9)
	damage()
	if _, err := k.Destroy(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	k.mustCount("a", 0)
}

// TestP14_RowsOfADamagedActorWaitForItsRepair holds that what is due is not lost, nor
// tried again and again.
func TestP14_RowsOfADamagedActorWaitForItsRepair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logs := new(lockedBuffer)
		one := &counterv1.IncrementRequest{Amount: 1}
		k := startKit(t, &kit{
			configure: func(cfg *actors.Config) { cfg.Logger = slog.New(slog.NewTextHandler(logs, nil)) },
			increment: func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
				if req.GetAmount() != 10 {
					return nil
				}
				if _, err := c.Schedule().After(time.Minute, counterv1connect.CounterIncrementProcedure, one); err != nil {
					return err
				}
				return c.Outbox().Send(actors.Peer{Key: []string{"b"}}, counterv1connect.CounterIncrementProcedure, one)
			},
		})
		k.mustAdd("a", 10)
		k = k.restartDamaged()
		pass(2 * time.Minute)
		before := logs.lines()
		pass(time.Hour)
		if got := logs.lines() - before; got != 0 {
			t.Errorf("%d lines were logged in an hour", got)
		}
		d := k.describe("a")
		if _, err := k.Repair(t.Context(), actors.Target{Address: d.Address}, d.Revision, setCount(100)); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		k.mustCount("a", 101)
		k.mustCount("b", 1)
	})
}

// badRow is a store in which one row is damaged.
type badRow struct {
	*memory.Store

	id  store.ID
	key []byte
}

func (s *badRow) Due(ctx context.Context, shard uint16, kind store.Kind, until time.Time, after *store.DueRow, limit int) ([]store.DueRow, error) {
	rows, err := s.Store.Due(ctx, shard, kind, until, after, limit)
	for n := range rows {
		if rows[n].ID == s.id && string(rows[n].Key) == string(s.key) {
			rows[n].Damaged, rows[n].Value = true, nil
		}
	}
	return rows, err
}

func (s *badRow) Scan(ctx context.Context, id store.ID, kind store.Kind, r store.Range) ([]store.Row, error) {
	rows, err := s.Store.Scan(ctx, id, kind, r)
	for n := range rows {
		if id == s.id && string(rows[n].Key) == string(s.key) {
			return nil, store.ErrCorrupt
		}
	}
	return rows, err
}

// TestP14_ADamagedScheduleKeepsNoOtherWaiting has one row of a shard damaged: what the
// other actors of the shard have due runs, the damaged actor's own rests, and the damage
// is logged once.
func TestP14_ADamagedScheduleKeepsNoOtherWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logs := new(lockedBuffer)
		d := &planDiary{log: slog.New(slog.NewTextHandler(logs, nil))}
		s := memory.New(memory.Options{Shards: 1})
		p := newPlanner(t, s, d)
		p.do("a", after(time.Minute))
		p.do("b", after(2*time.Minute))
		p.stop()
		id := p.stored("a").ID
		rows, err := s.Scan(t.Context(), id, store.KindSchedule, store.Range{From: []byte{1}})
		if err != nil || len(rows) != 1 {
			t.Fatalf("%d schedules, %v", len(rows), err)
		}
		p = newPlanner(t, &badRow{Store: s.Reopen(), id: id, key: rows[0].Key}, d)
		pass(time.Hour)
		if runs := d.take(); len(runs) != 1 || runs[0].key != "b" || runs[0].at.Sub(runs[0].Due) > time.Second {
			t.Errorf("the runs are %+v", runs)
		}
		if got := logs.lines(); got != 2 {
			t.Errorf("%d lines were logged in an hour", got)
		}
		if dead := p.dead(); len(dead) > 0 {
			t.Errorf("the dead list has %+v", dead)
		}
	})
}

// TestCaretakingByID names actors of the second type of a host by id.
func TestCaretakingByID(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	registry := actors.NewRegistry()
	k := &kit{tb: t}
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return &counter{kit: k} })
	actors.Register(registry, boardv1connect.RegisterBoardHandler, func() *board { return &board{kit: &boardKit{}} })
	host, err := actors.NewHost(actors.Config{Registry: registry, Store: s, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	k.Host = host
	defer k.stop()
	for _, m := range host.Methods() {
		if m.Subscription {
			continue
		}
		addr := store.Address{Namespace: "default", Type: m.Type, Key: "x"}
		created, _, err := host.Ensure(t.Context(), actors.Target{Address: addr}, nil)
		if err != nil {
			t.Fatal(err)
		}
		target := actors.Target{Address: store.Address{Namespace: "default"}, ID: created.ID}
		if d, err := host.Quarantine(t.Context(), target); err != nil || d.Status != actors.StatusQuarantined || d.Type != m.Type {
			t.Errorf("Quarantine of a %s: %+v, %v", m.Type, d, err)
		}
		s.Damage(addr, func(*store.Record) {})
		// One that has no state is reset, too.
		if d, err := host.Repair(t.Context(), target, created.Revision+1, func(proto.Message) error { return nil }); err != nil || d.Damaged || d.Status != actors.StatusSleeping {
			t.Errorf("Reset of a %s: %+v, %v", m.Type, d, err)
		}
		if _, err := host.Destroy(t.Context(), target); err != nil {
			t.Errorf("Destroy of a %s: %v", m.Type, err)
		}
	}
}
