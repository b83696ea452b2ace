// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

// load runs until stop, and counts what was acknowledged.
type load struct {
	acked  atomic.Uint64
	failed chan error
	stop   context.CancelFunc
	more   chan struct{} // has one when something was acknowledged
}

func startLoad(t testing.TB, s store.Store) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{failed: make(chan error, 1), stop: stop, more: make(chan struct{}, 1)}
	run := &storetest.Load{Store: s, Ack: func(batch uint64) {
		l.acked.Store(batch)
		select {
		case l.more <- struct{}{}:
		default:
		}
	}}
	go func() { l.failed <- run.Run(ctx) }()
	return l
}

// reach waits for a number of batches more.
func (l *load) reach(t testing.TB, batches uint64) {
	t.Helper()
	for target := l.acked.Load() + batches; l.acked.Load() < target; {
		select {
		case <-l.more:
		case err := <-l.failed:
			t.Fatalf("the load ended: %v", err)
		}
	}
}

func (l *load) end(t testing.TB) uint64 {
	t.Helper()
	l.stop()
	if err := <-l.failed; err != nil {
		t.Fatalf("the load: %v", err)
	}
	return l.acked.Load()
}

// TestP11_ServerCrashes stops and kills the server in the middle of pipelined commits,
// again and again. The load must not notice: what was under way is found out, and what
// was acknowledged is there, whole.
func TestP11_ServerCrashes(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.Database(t)
	s := openStore(t, postgres.Options{URL: url, Patience: 2 * time.Minute})
	l := startLoad(t, s)
	for round := range 6 {
		l.reach(t, uint64(3+7*round))
		if round%2 == 0 {
			server.Stop()
		} else {
			server.Kill()
		}
		server.Start(t)
	}
	l.reach(t, 5)
	acked := l.end(t)
	storetest.CheckLoad(t, s, acked, false)
	// Another node finds the same.
	second := openStore(t, postgres.Options{URL: url})
	if newest := storetest.CheckLoad(t, second, acked, false); newest != acked {
		t.Errorf("the newest batch is %d, and %d were acknowledged", newest, acked)
	}
	t.Logf("%d batches, %+v", acked, s.Metrics().Commit)
	closeStore(t, second)
	closeStore(t, s)
}

// TestP11_Failover kills the primary in the middle of pipelined commits and promotes its
// synchronous standby: nothing that was acknowledged is lost, the load goes on, and the
// old primary is refused when it comes back.
func TestP11_Failover(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, "synchronous_standby_names = ''")
	url := primary.Database(t)
	standby := primary.Standby(t, "second")
	primary.Exec(t, "postgres", `ALTER SYSTEM SET synchronous_standby_names = 'second'`)
	primary.Exec(t, "postgres", `SELECT pg_reload_conf()`)
	until(t, session(t, primary.URL("postgres")), `SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'`)

	both := fmt.Sprintf("postgres://postgres@%s,%s/test_1?sslmode=disable", primary.Addr(), standby.Addr())
	if primary.URL("test_1") != url {
		t.Fatalf("the database is %s", url)
	}
	s := openStore(t, postgres.Options{URL: both, Patience: 2 * time.Minute})
	l := startLoad(t, s)
	l.reach(t, 20)
	primary.Kill()
	killed, known := time.Now(), l.acked.Load()
	standby.Promote(t)
	l.reach(t, 1)
	t.Logf("%d batches were acknowledged; the next one %v after the kill", known, time.Since(killed))
	l.reach(t, 20)

	// The old primary comes back by mistake, first in the list of hosts, and without the
	// standby that it would wait for.
	primary.Start(t)
	primary.Exec(t, "postgres", `ALTER SYSTEM SET synchronous_standby_names = ''`)
	primary.Exec(t, "postgres", `SELECT pg_reload_conf()`)
	standby.Exec(t, "postgres", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'troupe%'`)
	l.reach(t, 20)
	acked := l.end(t)
	if newest := storetest.CheckLoad(t, s, acked, false); newest != acked {
		t.Errorf("the newest batch is %d, and %d were acknowledged", newest, acked)
	}
	after := openStore(t, postgres.Options{URL: standby.URL("test_1")})
	storetest.CheckLoad(t, after, acked, false)
	closeStore(t, after)
	closeStore(t, s)
}
