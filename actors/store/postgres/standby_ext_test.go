// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

// away is a server whose synchronous standby is not there: what is committed waits.
type away struct {
	server *pgtest.Server
	watch  *pgx.Conn
	lane   string // what the sessions that are watched are called
}

// goAway begins the absence. It returns when the server waits.
func goAway(t *testing.T, server *pgtest.Server, s *postgres.Store, url string) *away {
	t.Helper()
	a := &away{server: server, watch: session(t, url), lane: postgres.ApplicationName(s.NodeID())}
	probe := session(t, url)
	exec(t, probe, `SET application_name = 'probe'`)
	exec(t, probe, `CREATE TABLE probe ()`)
	server.Exec(t, "postgres", `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
	server.Exec(t, "postgres", `SELECT pg_reload_conf()`)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for err := error(nil); err == nil; { // until one waits, and is ended
			_, err = probe.Exec(context.Background(), `INSERT INTO probe DEFAULT VALUES`)
		}
	}()
	until(t, a.watch, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'probe' AND wait_event = 'SyncRep'`)
	exec(t, a.watch, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'probe'`)
	<-ended
	t.Cleanup(func() { a.comeBack(t) }) // or the database could not be dropped
	return a
}

// comeBack has the server wait for nobody any more.
func (a *away) comeBack(t *testing.T) {
	t.Helper()
	a.server.Exec(t, "postgres", `ALTER SYSTEM RESET synchronous_standby_names`)
	a.server.Exec(t, "postgres", `SELECT pg_reload_conf()`)
}

// waits returns the first session of the lane after another one that waits for the standby,
// and fails the test if the commit is settled before.
func (a *away) waits(t *testing.T, after int, settled chan struct{}, w *store.Write) (pid int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		pid = number(t, a.watch, `SELECT coalesce(max(pid), 0) FROM pg_stat_activity
			WHERE application_name = $1 AND wait_event = 'SyncRep' AND pid <> $2`, a.lane, after)
		if pid != 0 {
			return pid
		}
		select {
		case <-tick.C:
		case <-settled:
			t.Fatalf("the commit, which no standby has, ended with %v", w.Err)
		}
	}
}

// TestP11_WhatIsFoundIsOnTheStandbyToo ends the session of a commit that waits for a standby. The
// primary has taken it then, and says so to who asks; but as long as there is no standby
// nothing is acknowledged.
func TestP11_WhatIsFoundIsOnTheStandbyToo(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.Database(t)
	s := openStore(t, postgres.Options{URL: url, Lanes: 1, Patience: time.Minute})
	w := newActor(s, "a")
	standby := goAway(t, server, s, url)
	p, settled := s.Commit(t.Context(), []*store.Write{w}), make(chan struct{})
	go func() { p.Wait(); close(settled) }()
	commits := standby.waits(t, 0, settled, w)
	exec(t, standby.watch, `SELECT pg_terminate_backend($1)`, commits)
	asks := standby.waits(t, commits, settled, w)
	exec(t, standby.watch, `SELECT pg_cancel_backend($1)`, asks)
	standby.waits(t, asks, settled, w) // it asks once more
	standby.comeBack(t)
	if <-settled; w.Err != nil {
		t.Errorf("the commit, which the standby has: %v", w.Err)
	}
	closeStore(t, s)
}

// TestP11_ACancelledWaitIsUnknown cancels the wait of a commit for a standby, in a database
// whose sessions are told of errors alone unless they ask for more.
func TestP11_ACancelledWaitIsUnknown(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.Database(t)
	exec(t, session(t, url), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET client_min_messages = error', current_database()); END $$`)
	s := openStore(t, postgres.Options{URL: url, Lanes: 1, Patience: time.Minute})
	w := newActor(s, "a")
	standby := goAway(t, server, s, url)
	p, settled := s.Commit(t.Context(), []*store.Write{w}), make(chan struct{})
	go func() { p.Wait(); close(settled) }()
	exec(t, standby.watch, `SELECT pg_cancel_backend($1)`, standby.waits(t, 0, settled, w))
	if <-settled; !errors.Is(w.Err, store.ErrUnknown) {
		t.Errorf("the commit, which no standby has: %v, want ErrUnknown", w.Err)
	}
	standby.comeBack(t)
	closeStore(t, s)
}

// TestP11_WhatNoStandbyHasIsNotRead holds that what the primary alone has taken is shown to nobody: a
// caller that repeats its call would be told of it, and the standby may be promoted.
func TestP11_WhatNoStandbyHasIsNotRead(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.Database(t)
	s := openStore(t, postgres.Options{URL: url, Lanes: 1, Patience: 5 * time.Second})
	w, next := newActor(s, "a"), newActor(s, "b")
	standby := goAway(t, server, s, url)
	p, settled := s.Commit(t.Context(), []*store.Write{w}), make(chan struct{})
	go func() { p.Wait(); close(settled) }()
	exec(t, standby.watch, `SELECT pg_cancel_backend($1)`, standby.waits(t, 0, settled, w))
	if <-settled; !errors.Is(w.Err, store.ErrUnknown) {
		t.Errorf("the commit, which no standby has: %v, want ErrUnknown", w.Err)
	}
	if r, err := s.Load(t.Context(), w.Record.Address); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Load: revision %d, %v; want ErrUnavailable", r.Revision, err)
	}
	if s.Commit(t.Context(), []*store.Write{next}).Wait(); next.Err == nil || errors.Is(next.Err, store.ErrUnknown) {
		t.Errorf("the next commit, which was not sent: %v, want a definite failure", next.Err)
	}
	standby.comeBack(t)
	r, err := s.Load(t.Context(), w.Record.Address)
	for errors.Is(err, store.ErrUnavailable) {
		r, err = s.Load(t.Context(), w.Record.Address)
	}
	if err != nil || r.Revision != 1 {
		t.Errorf("Load: revision %d, %v", r.Revision, err)
	}
	commit(t, s, next)
	closeStore(t, s)
}

// TestP11_AWarningAboutVacuumIsNoDoubt commits to a server that warns in each transaction that
// a VACUUM is due: every copy that there is to be is there.
func TestP11_AWarningAboutVacuumIsNoDoubt(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "autovacuum = off")
	url := server.Database(t)
	closeStore(t, openStore(t, postgres.Options{URL: url, Lanes: 1}))
	server.Age(t)
	s := openStore(t, postgres.Options{URL: url, Lanes: 1})
	w := newActor(s, "a")
	s.Commit(t.Context(), []*store.Write{w}).Wait()
	if w.Err != nil {
		t.Errorf("the commit: %v", w.Err)
	}
	closeStore(t, s)
	if said := server.Log(t); !strings.Contains(said, "must be vacuumed within") {
		t.Errorf("the server has not warned:\n%s", said)
	}
}
