// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

// BenchmarkBloat overwrites random states of 4 KiB, each one time an op, and reports how
// large the tables are in the end, with the settings of the migrations and with
// PostgreSQL's own. A million: -bench Bloat -benchtime 1000000x.
func BenchmarkBloat(b *testing.B) {
	b.Run("tuned", func(b *testing.B) { bloat(b, "") })
	b.Run("defaults", func(b *testing.B) {
		bloat(b, `ALTER TABLE actor RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay,
			toast.autovacuum_vacuum_scale_factor, toast.autovacuum_vacuum_threshold, toast.autovacuum_vacuum_cost_delay)`)
	})
}

func bloat(b *testing.B, change string) {
	const actors, size = 20_000, 256
	server := pgtest.Start(b, "autovacuum_naptime = 1s", "max_wal_size = 4GB")
	url := server.Database(b)
	s := openStore(b, postgres.Options{URL: url})
	defer closeStore(b, s)
	conn := session(b, url)
	if change != "" {
		exec(b, conn, change)
	}
	random := rand.NewChaCha8([32]byte{1})
	state := make([]byte, 4096)
	all := make([]*store.Write, actors)
	for i := range all {
		all[i] = newActor(s, fmt.Sprint(i))
		_, _ = random.Read(state) // never fails
		all[i].Record.State = append([]byte(nil), state...)
	}
	for at := 0; at < actors; at += 500 {
		commit(b, s, all[at:at+500]...)
	}
	exec(b, conn, `SET statement_timeout = 0`)
	megabytes := func() float64 {
		return float64(number(b, conn, `SELECT pg_total_relation_size('actor') / 1048576`))
	}
	before := megabytes()
	pick := rand.New(random)
	b.ResetTimer()
	for done := 0; done < b.N; {
		var writes []*store.Write
		seen := make(map[int]bool)
		for len(writes) < min(size, b.N-done) {
			i := pick.IntN(actors)
			if seen[i] {
				continue
			}
			seen[i] = true
			w := all[i]
			w.Op, w.Expect = store.OpUpdate, w.Record.Revision
			w.Record.Revision++
			writes = append(writes, w)
		}
		commit(b, s, writes...)
		done += len(writes)
	}
	b.StopTimer()
	b.ReportMetric(before, "MB-before")
	b.ReportMetric(megabytes(), "MB-after")
	b.ReportMetric(float64(number(b, conn, `SELECT coalesce(100 * sum(n_tup_hot_upd) / nullif(sum(n_tup_upd), 0), 0)::integer FROM pg_stat_user_tables WHERE relname = 'actor'`)), "HOT-%")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
}
