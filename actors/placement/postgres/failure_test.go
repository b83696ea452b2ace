// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
	"github.com/troupe-dev/troupe/actors/placement/postgres"
	seam "github.com/troupe-dev/troupe/actors/store"
	store "github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

// member is a node driven by hand, with the store that it commits to.
type member struct {
	t          testing.TB
	store      *store.Store
	authority  *postgres.Authority
	node       placement.Node
	generation uint64
}

// join opens a store and takes part.
func join(t testing.TB, cfg cluster.Config, opts store.Options) *member {
	t.Helper()
	opts.Shards = cfg.Shards
	opened, err := store.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	authority, err := postgres.New(cfg, opened)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t: t, store: opened, authority: authority, node: placement.Node{ID: opened.NodeID()}}
	m.join()
	return m
}

// join begins a stay.
func (m *member) join() {
	m.t.Helper()
	answer := m.must(cluster.Request{Op: cluster.Join})
	m.node.ID, m.generation = answer.ID, answer.Generation
	m.must(cluster.Request{Op: cluster.Beat, Generation: m.generation})
}

func (m *member) must(q cluster.Request) cluster.Answer {
	m.t.Helper()
	q.Node = m.node
	answer, err := m.authority.Ask(m.t.Context(), q)
	if err != nil {
		m.t.Fatalf("request %d: %v", q.Op, err)
	}
	return answer
}

func (m *member) exec(sql string, params ...any) {
	m.t.Helper()
	if _, err := m.store.Pool().Exec(m.t.Context(), sql, params...); err != nil {
		m.t.Fatal(err)
	}
}

// commit creates an actor.
func (m *member) commit(key string) error {
	addr := seam.Address{Namespace: "n", Type: "t.T", Key: key}
	w := &seam.Write{Op: seam.OpCreate, Record: seam.Record{
		Address: addr, ID: seam.NewID(seam.ShardOf(addr, m.store.Info().Shards)), Revision: 1, CreatedAt: time.UnixMilli(1),
	}}
	m.store.Commit(m.t.Context(), []*seam.Write{w}).Wait()
	return w.Err
}

// TestP1_AFrozenCommitDoesNotHoldUpTheNextHolder freezes a node in the middle of a
// commit, with its lane locked.
func TestP1_AFrozenCommitDoesNotHoldUpTheNextHolder(t *testing.T) {
	t.Parallel()
	cfg := cluster.Config{Shards: 64, TTL: time.Minute}
	url := pgtest.Database(t)
	a, b := join(t, cfg, store.Options{URL: url}), join(t, cfg, store.Options{URL: url})
	if got := a.must(cluster.Request{Op: cluster.Claim, Limit: 64}).Held; len(got) != 64 {
		t.Fatalf("claimed %d", len(got))
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = store.ApplicationName(a.node.ID)
	config.RuntimeParams["search_path"] = "troupe"
	frozen, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close(t.Context())
	tx, err := frozen.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM lane WHERE node = $1::text::uuid FOR UPDATE`, a.node.ID); err != nil {
		t.Fatal(err)
	}
	b.exec(`UPDATE node SET expires_at = clock_timestamp() WHERE id = $1::text::uuid`, a.node.ID)
	if got := b.must(cluster.Request{Op: cluster.Claim, Limit: 64}).Held; len(got) != 64 {
		t.Errorf("took over %d of 64 shards", len(got))
	}
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("the frozen commit went through")
	}
	if err := a.commit("late"); !errors.Is(err, seam.ErrFenced) {
		t.Errorf("a late commit: %v", err)
	}
	a.join() // and it comes back as another
	if err := a.commit("later"); err != nil {
		t.Errorf("a commit of the new stay: %v", err)
	}
}

// TestP6_ADatabaseThatHasForgotten kills a primary and promotes a standby that lacks the
// last handovers and joins.
func TestP6_ADatabaseThatHasForgotten(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t)
	database := primary.Database(t)
	cfg := cluster.Config{Shards: 64, TTL: 6 * time.Second}
	standby := primary.Standby(t, "second")
	opts := store.Options{URL: both(t, database, primary, standby), Patience: 2 * time.Second}
	a, b := join(t, cfg, opts), join(t, cfg, opts)
	a.must(cluster.Request{Op: cluster.Claim, Limit: 64})
	caughtUp(t, primary, standby)
	standby.Exec(t, "postgres", "ALTER SYSTEM SET primary_conninfo = ''")
	standby.Exec(t, "postgres", "SELECT pg_reload_conf()")
	primary.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")

	all := a.must(cluster.Request{Op: cluster.List}).Held
	a.must(cluster.Request{Op: cluster.Hand, Grants: all[:10], To: b.node.ID})
	if got := b.must(cluster.Request{Op: cluster.List}).Held; len(got) != 10 {
		t.Fatalf("handed over %d shards", len(got))
	}
	primary.Kill()
	standby.Promote(t)

	// Nobody commits before the database has heard of them.
	for name, m := range map[string]*member{"a": a, "b": b} {
		if err := m.commit("before-" + name); err == nil {
			t.Errorf("%s commits to a database that has not heard of it: %v", name, err)
		}
	}
	told := b.must(cluster.Request{Op: cluster.Beat, Generation: b.generation})
	if told.Generation == b.generation || told.Settled || len(told.Held) != 0 {
		t.Errorf("the second database says %+v; what it has lost is not to be seen", told)
	}
	told = a.must(cluster.Request{Op: cluster.Beat, Generation: a.generation})
	if told.Generation == a.generation || len(told.Held) != 64 {
		t.Errorf("the second database lists %d shards in generation %d", len(told.Held), told.Generation)
	}
	if got := b.must(cluster.Request{Op: cluster.Claim, Limit: 64}).Held; len(got) != 0 {
		t.Errorf("%d shards claimed before the generation has settled", len(got))
	}
	a.must(cluster.Request{Op: cluster.Beat, Generation: told.Generation})
	if err := a.commit("after"); err != nil {
		t.Errorf("a commit after the lease was renewed: %v", err)
	}

	// b never does, and its clock does not matter: it is gone once that has settled.
	b.exec(`UPDATE node SET expires_at = clock_timestamp() + interval '1 hour' WHERE id = $1::text::uuid`, b.node.ID)
	ticker := time.NewTicker(cfg.TTL / 20)
	defer ticker.Stop()
	for {
		<-ticker.C
		a.must(cluster.Request{Op: cluster.Beat, Generation: told.Generation})
		if a.must(cluster.Request{Op: cluster.List}).Settled {
			break
		}
	}
	a.must(cluster.Request{Op: cluster.Claim, Limit: 1})
	if err := b.commit("late"); err == nil {
		t.Error("the node that has not come back commits")
	}
}

// both is the address of a database on either server.
func both(t *testing.T, url string, servers ...*pgtest.Server) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	hosts := make([]string, len(servers))
	for i, s := range servers {
		hosts[i] = s.Addr()
	}
	one := fmt.Sprintf("%s:%d", config.Host, config.Port)
	if !strings.Contains(url, one) {
		t.Fatalf("no %s in the address", one)
	}
	return strings.Replace(url, one, strings.Join(hosts, ","), 1)
}

// caughtUp waits until a standby has everything.
func caughtUp(t *testing.T, primary, standby *pgtest.Server) {
	t.Helper()
	from, err := pgx.Connect(t.Context(), primary.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close(t.Context())
	to, err := pgx.Connect(t.Context(), standby.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close(t.Context())
	var at string
	if err := from.QueryRow(t.Context(), "SELECT pg_current_wal_lsn()::text").Scan(&at); err != nil {
		t.Fatal(err)
	}
	for there := false; !there; {
		if err := to.QueryRow(t.Context(), "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)", at).Scan(&there); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkTakeOver takes over the 4,096 shards of a node that is gone: sessions ended,
// marked dead, claimed. BenchmarkBeat is one renewal of a node with all of them, and
// BenchmarkView one look at the cluster.
func BenchmarkTakeOver(b *testing.B) {
	cfg := cluster.Config{Shards: 4096, TTL: time.Hour}
	url := pgtest.Database(b)
	left, right := join(b, cfg, store.Options{URL: url}), join(b, cfg, store.Options{URL: url})
	left.must(cluster.Request{Op: cluster.Claim, Limit: 4096})
	for b.Loop() {
		b.StopTimer()
		left.exec(`UPDATE node SET expires_at = clock_timestamp() WHERE id = $1::text::uuid`, left.node.ID)
		b.StartTimer()
		if got := right.must(cluster.Request{Op: cluster.Claim, Limit: 4096}).Held; len(got) != 4096 {
			b.Fatalf("took over %d", len(got))
		}
		b.StopTimer()
		left.join()
		left, right = right, left
		b.StartTimer()
	}
}

func BenchmarkBeat(b *testing.B) {
	for _, shards := range []int{4, 4096} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			m := join(b, cluster.Config{Shards: 4096, TTL: time.Hour}, store.Options{URL: pgtest.Database(b)})
			m.must(cluster.Request{Op: cluster.Claim, Limit: shards})
			for b.Loop() {
				m.must(cluster.Request{Op: cluster.Beat, Generation: m.generation})
			}
		})
	}
}

func BenchmarkView(b *testing.B) {
	m := join(b, cluster.Config{Shards: 4096, TTL: time.Hour}, store.Options{URL: pgtest.Database(b)})
	m.exec(`INSERT INTO node (id, address, expires_at) SELECT gen_random_uuid(), 'host:1', clock_timestamp() + interval '1 day' FROM generate_series(1, 999)`)
	m.exec(`UPDATE shard SET owner = n.id, epoch = epoch + 1 FROM (SELECT id, row_number() OVER () - 1 AS i FROM node) n WHERE n.i = shard.shard % 1000`)
	b.Run("nodes=1000", func(b *testing.B) {
		for b.Loop() {
			m.must(cluster.Request{Op: cluster.View})
		}
	})
}

func BenchmarkList(b *testing.B) {
	m := join(b, cluster.Config{Shards: 4096, TTL: time.Hour}, store.Options{URL: pgtest.Database(b)})
	m.must(cluster.Request{Op: cluster.Claim, Limit: 4})
	b.Run("shards=4", func(b *testing.B) {
		for b.Loop() {
			m.must(cluster.Request{Op: cluster.List})
		}
	})
}
