// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"errors"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

// TestP1_DeadNodeIsRefused holds that nothing of a node is taken once it is dead, and
// that it can go on as another.
func TestP1_DeadNodeIsRefused(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s := openStore(t, postgres.Options{URL: url})
	defer closeStore(t, s)
	conn := session(t, url)
	a := newActor(s, "a")
	a.Rows = []store.RowWrite{{Kind: store.KindIdempotency, Row: store.Row{Key: []byte("k"), Due: day}}}
	commit(t, s, a)
	second := openStore(t, postgres.Options{URL: url})
	defer closeStore(t, second)
	former := s.NodeID()
	exec(t, conn, `UPDATE node SET dead = true`)

	// By another node, which has not been refused yet: after that, none asks any more.
	if _, err := second.Expire(t.Context(), a.Record.ID.Shard(), store.KindIdempotency, day, 9); !errors.Is(err, store.ErrFenced) {
		t.Errorf("Expire: %v", err)
	}
	writes := []*store.Write{after(a, "late"), newActor(s, "b"), newActor(s, "c")}
	s.Commit(t.Context(), writes).Wait()
	for _, w := range writes {
		if !errors.Is(w.Err, store.ErrFenced) {
			t.Errorf("write of %q: %v, want ErrFenced", w.Record.Key, w.Err)
		}
	}
	if _, err := s.Load(t.Context(), a.Record.Address); !errors.Is(err, store.ErrFenced) {
		t.Errorf("Load: %v, want ErrFenced", err)
	}
	if n := number(t, conn, `SELECT count(*) FROM actor WHERE revision = 1 AND state = 'born'`); n != 1 {
		t.Errorf("%d actors are as they were, want 1", n)
	}
	if n := number(t, conn, `SELECT (SELECT count(*) FROM actor) + (SELECT count(*) FROM actor_row)`); n != 2 {
		t.Errorf("%d rows are left, want 2", n)
	}

	if err := s.Rejoin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.NodeID() == former {
		t.Error("the id was used again")
	}
	commit(t, s, after(a, "as another node"))
	if got := stateOf(t, s, a); got != "as another node" {
		t.Errorf("state is %q", got)
	}
}

// TestP6_ANodeWhoseCommitsAreGoneIsOut has the database forget what a node has committed,
// as a standby does that is promoted without them. The node would renew its lease and
// hold its shards while nothing of it is taken: it is dead for the others, too.
func TestP6_ANodeWhoseCommitsAreGoneIsOut(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s := openStore(t, postgres.Options{URL: url, Lanes: 1})
	defer closeStore(t, s)
	conn := session(t, url)
	commit(t, s, newActor(s, "a"))
	exec(t, conn, `DELETE FROM lane_commit`)
	late := newActor(s, "b")
	if s.Commit(t.Context(), []*store.Write{late}).Wait(); late.Err == nil {
		t.Error("a commit after it was taken")
	}
	until(t, conn, `SELECT count(*) FROM node WHERE dead`)
	if err := s.Rejoin(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit(t, s, newActor(s, "c"))
}

// TestP1_FenceThatComesFirst is the race that a fence loses which only reads: the node
// is declared dead while its commit is on the way. The commit must wait for what becomes
// of that, and then find it.
func TestP1_FenceThatComesFirst(t *testing.T) {
	t.Parallel()
	for _, kept := range []bool{true, false} {
		url := pgtest.Database(t)
		s := openStore(t, postgres.Options{URL: url})
		a := newActor(s, "a")
		commit(t, s, a)
		taker, watch := session(t, url), session(t, url)
		exec(t, taker, `BEGIN`)
		exec(t, taker, `UPDATE node SET dead = true WHERE id = $1`, s.NodeID())
		late := after(a, "late", put("k", "late"))
		p := s.Commit(t.Context(), []*store.Write{late})
		until(t, watch, `SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'`,
			postgres.ApplicationName(s.NodeID()))
		if kept {
			exec(t, taker, `COMMIT`)
			p.Wait()
			if !errors.Is(late.Err, store.ErrFenced) {
				t.Errorf("the late commit: %v, want ErrFenced", late.Err)
			}
			if n := number(t, watch, `SELECT count(*) FROM actor WHERE state = 'born'`) + number(t, watch, `SELECT count(*) FROM actor_row`); n != 1 {
				t.Error("the late commit left something")
			}
		} else {
			exec(t, taker, `ROLLBACK`)
			p.Wait()
			if late.Err != nil {
				t.Errorf("a commit of a node that was not declared dead after all: %v", late.Err)
			}
		}
		closeStore(t, s)
	}
}

// TestP1_TakerWaitsForTheCommit holds that a node cannot be declared dead while a commit
// of it may still be taken, so that who takes over sees it.
func TestP1_TakerWaitsForTheCommit(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s := openStore(t, postgres.Options{URL: url, Lanes: 1})
	a := newActor(s, "a")
	commit(t, s, a)
	holder, taker, watch := session(t, url), session(t, url), session(t, url)
	// The commit cannot end before the holder lets go of the actor.
	exec(t, holder, `BEGIN`)
	exec(t, holder, `SELECT FROM actor FOR UPDATE`)
	w := after(a, "in time")
	p := s.Commit(t.Context(), []*store.Write{w})
	until(t, watch, `SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'`,
		postgres.ApplicationName(s.NodeID()))
	exec(t, taker, `SET application_name = 'taker'`)
	taken := make(chan error, 1)
	go func() {
		_, err := taker.Exec(t.Context(), `UPDATE node SET dead = true WHERE id = $1`, s.NodeID())
		taken <- err
	}()
	until(t, watch, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taker' AND wait_event_type = 'Lock'`)
	exec(t, holder, `COMMIT`)
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	if n := number(t, watch, `SELECT count(*) FROM actor WHERE state = 'in time'`); n != 1 {
		t.Error("the taker does not see the commit that it waited for")
	}
	if p.Wait(); w.Err != nil {
		t.Errorf("the commit: %v", w.Err)
	}
	late := after(w, "late")
	if s.Commit(t.Context(), []*store.Write{late}).Wait(); !errors.Is(late.Err, store.ErrFenced) {
		t.Errorf("the next commit: %v, want ErrFenced", late.Err)
	}
	closeStore(t, s)
}

// TestFrozenOwnerIsEnded holds that a session which was stopped in the middle of a
// transaction, locks held, does not hold up the one that takes over for long.
func TestFrozenOwnerIsEnded(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s := openStore(t, postgres.Options{URL: url})
	defer closeStore(t, s)
	frozen, err := s.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Release()
	tx, err := frozen.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM lane WHERE node = $1 FOR UPDATE`, s.NodeID()); err != nil {
		t.Fatal(err)
	}
	exec(t, session(t, url), `UPDATE node SET dead = true WHERE id = $1`, s.NodeID()) // no time limit of its own
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("the frozen session has committed")
	}
}
