// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"errors"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

// TestFirstStartOfMany lets eight nodes open a new database at the same moment.
func TestFirstStartOfMany(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	stores := make([]*postgres.Store, 8)
	failed := make([]error, len(stores))
	var group sync.WaitGroup
	for i := range stores {
		group.Go(func() {
			stores[i], failed[i] = postgres.Open(t.Context(), postgres.Options{URL: database, Lanes: 1})
		})
	}
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]bool)
	for _, s := range stores {
		ids[s.NodeID()] = true
		if s.Info() != stores[0].Info() {
			t.Errorf("one node has %+v, another %+v", s.Info(), stores[0].Info())
		}
	}
	conn := session(t, database)
	if len(ids) != len(stores) || number(t, conn, `SELECT count(*) FROM node WHERE NOT dead`) != len(stores) {
		t.Errorf("%d nodes have %d ids", len(stores), len(ids))
	}
	if n := number(t, conn, `SELECT count(*) FROM shard WHERE owner IS NULL AND epoch = 0`); n != int(store.DefaultShards) {
		t.Errorf("there are %d shards", n)
	}
	for _, s := range stores {
		closeStore(t, s)
	}
	if n := number(t, conn, `SELECT count(*) FROM node WHERE NOT dead`); n != 0 {
		t.Errorf("%d nodes are left alive by Close", n)
	}
	// What they have left goes when it is old, unless a shard still names it.
	exec(t, conn, `UPDATE node SET started_at = started_at - interval '2 days'`)
	exec(t, conn, `UPDATE shard SET owner = $1 WHERE shard = 0`, stores[0].NodeID())
	closeStore(t, openStore(t, postgres.Options{URL: database}))
	if n := number(t, conn, `SELECT count(*) FROM node`); n != 2 {
		t.Errorf("%d nodes are left, want the one that is named and the last one", n)
	}
	if n := number(t, conn, `SELECT count(DISTINCT node) FROM lane_commit`); n != 2 {
		t.Errorf("%d nodes have left their commits", n)
	}
}

// TestP7_ShardsAreFixed holds that what was decided at the first start stays, and that a
// store is refused that this program does not understand.
func TestP7_ShardsAreFixed(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	s := openStore(t, postgres.Options{URL: database, Shards: 100})
	info := s.Info()
	closeStore(t, s)
	if info.Shards != 100 {
		t.Fatalf("a new store has %d shards", info.Shards)
	}
	s = openStore(t, postgres.Options{URL: database})
	if s.Info() != info {
		t.Errorf("opened again: %+v, want %+v", s.Info(), info)
	}
	closeStore(t, s)
	conn := session(t, database)
	refused := func(opts postgres.Options, want string) {
		t.Helper()
		opts.URL = database
		s, err := postgres.Open(t.Context(), opts)
		if err == nil {
			closeStore(t, s)
		}
		if !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("Open: %v, want ErrFormat and %q", err, want)
		}
	}
	refused(postgres.Options{Shards: 200}, "the store has 100 shards")
	exec(t, conn, `UPDATE store SET shard_hash = 'another'`)
	refused(postgres.Options{}, `the hash "another"`)
	exec(t, conn, `UPDATE store SET shard_hash = 'fnv1a64'`)
	exec(t, conn, `INSERT INTO migration (version, name) VALUES (999, 'of the future')`)
	refused(postgres.Options{}, "has version 999")
}

// TestGenerationIsWatched holds that a store which was restored under a running node
// takes nothing of what that node remembers.
func TestGenerationIsWatched(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	s := openStore(t, postgres.Options{URL: database, Patience: 8 * time.Second})
	a := newActor(s, "a")
	commit(t, s, a)
	conn := session(t, database)
	exec(t, conn, `UPDATE store SET generation = generation + 1`)
	exec(t, conn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	w := after(a, "late")
	s.Commit(t.Context(), []*store.Write{w}).Wait()
	if w.Err == nil || !strings.Contains(w.Err.Error(), "generation") {
		t.Errorf("commit: %v", w.Err)
	}
	if err := s.Close(); err == nil {
		t.Error("Close has signed the node off in another store")
	}
}

// TestP34_EachRestoreHasAnotherGeneration restores one backup twice, by the book: what came
// after the first time is no more known after the second than what came before it.
func TestP34_EachRestoreHasAnotherGeneration(t *testing.T) {
	t.Parallel()
	book, err := os.ReadFile("../../../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	_, statements, _ := strings.Cut(string(book), "## Backups")
	_, statements, _ = strings.Cut(statements, "```sql")
	statements, _, _ = strings.Cut(statements, "```")
	database := pgtest.Database(t)
	s := openStore(t, postgres.Options{URL: database})
	backup := s.Info().Generation
	closeStore(t, s)
	conn := session(t, database)
	seen := map[uint64]bool{backup: true}
	for range 2 {
		exec(t, conn, `UPDATE store SET generation = $1`, int64(backup))
		exec(t, conn, statements)
		s := openStore(t, postgres.Options{URL: database})
		if got := s.Info().Generation; seen[got] || got == 0 {
			t.Errorf("after a restore the generation is %d, which it was before", got)
		} else {
			seen[got] = true
		}
		closeStore(t, s)
	}
}

// TestP11_UnsafeServersAreRefused holds that a server that may lose what it has
// acknowledged is refused unless that is accepted.
func TestP11_UnsafeServersAreRefused(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync = off", "full_page_writes = off")
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		where := server
		if setting == "synchronous_commit" {
			where = pgtest.Shared(t)
		}
		database := where.Database(t)
		if where != server {
			conn := session(t, database)
			exec(t, conn, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`)
		}
		s, err := postgres.Open(t.Context(), postgres.Options{URL: database})
		if err == nil {
			closeStore(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), "is off") {
			t.Errorf("%s off: %v", setting, err)
		}
		closeStore(t, openStore(t, postgres.Options{URL: database, UnsafeDurability: true}))
		if setting == "fsync" {
			server.Exec(t, "postgres", `ALTER SYSTEM SET fsync = on`)
			server.Exec(t, "postgres", `SELECT pg_reload_conf()`)
			until(t, session(t, server.URL("postgres")), `SELECT count(*) FROM pg_settings WHERE name = 'fsync' AND setting = 'on'`)
		}
	}
}

// TestLeastPrivileges runs a node under a role that may neither make nor change a table.
func TestLeastPrivileges(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	conn := session(t, database)
	role := "server_" + conn.Config().Database
	exec(t, conn, `CREATE ROLE `+role+` LOGIN`)
	exec(t, conn, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	if _, err := postgres.Open(t.Context(), postgres.Options{URL: u.String()}); err == nil || !strings.Contains(err.Error(), "migrate once") {
		t.Errorf("Open of a new database: %v", err)
	}
	if err := postgres.Migrate(t.Context(), postgres.Options{URL: database}); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, `GRANT USAGE ON SCHEMA troupe TO `+role)
	exec(t, conn, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA troupe TO `+role)
	s := openStore(t, postgres.Options{URL: u.String()})
	a := newActor(s, "a", put("k", "v"))
	commit(t, s, a)
	if _, err := s.Expire(t.Context(), 0, store.KindKV, day, 1); err != nil {
		t.Errorf("Expire: %v", err)
	}
	closeStore(t, s)
	exec(t, conn, `DROP OWNED BY `+role)
	exec(t, conn, `DROP ROLE `+role)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]postgres.Options{
		"no URL":            {},
		"a schema to quote": {URL: "postgres://a", Schema: `tr"oupe`},
		"too many lanes":    {URL: "postgres://a", Lanes: 17},
		"no lanes":          {URL: "postgres://a", Lanes: -1},
		"no connections":    {URL: "postgres://a", ReadConns: -1},
		"no patience":       {URL: "postgres://a", Patience: -1},
		"not a URL":         {URL: "postgres://a:secret@b:c"},
	} {
		if _, err := postgres.Open(t.Context(), opts); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVisit holds that a visitor finds a store as it is and changes nothing, and that
// one which finds none says so.
func TestVisit(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	conn := session(t, url)
	visit := func(want string) {
		t.Helper()
		pool, info, err := postgres.Visit(t.Context(), postgres.Options{URL: url})
		if err == nil {
			pool.Close()
		}
		if want == "" && (err != nil || info.Shards != store.DefaultShards) || want != "" && (!errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), want)) {
			t.Errorf("Visit: %+v, %v; want %q", info, err, want)
		}
	}
	visit("the first node that starts makes it")
	closeStore(t, openStore(t, postgres.Options{URL: url}))
	count := func() (nodes int) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM node`).Scan(&nodes); err != nil {
			t.Fatal(err)
		}
		return nodes
	}
	before := count()
	visit("")
	if after := count(); after != before {
		t.Errorf("a visitor became a node: %d rows, and then %d", before, after)
	}
	exec(t, conn, `CREATE TABLE saved AS SELECT version, name FROM migration; DELETE FROM migration WHERE version > 1`)
	visit("a node of this program brings it up to date")
	exec(t, conn, `INSERT INTO migration (version, name) SELECT version, name FROM saved WHERE version > 1; INSERT INTO migration (version, name) VALUES (1000, 'later')`)
	visit("run a newer version")
}
