// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

const bareActors = 10_000

// bare writes what a store is given the way a program would that has one writer, no
// fence and no doubts: one transaction of two statements in one round trip.
type bare struct{ conn *pgx.Conn }

func newBare(b *testing.B, conn *pgx.Conn) *bare {
	b.Helper()
	exec(b, conn, `CREATE SCHEMA bare; SET search_path = bare; SET enable_seqscan = off; SET statement_timeout = 0;
		CREATE TABLE state (id uuid PRIMARY KEY, revision bigint NOT NULL, state bytea NOT NULL) WITH (fillfactor = 70);
		CREATE TABLE item (id uuid, key bytea, value bytea NOT NULL, PRIMARY KEY (id, key))`)
	return &bare{conn}
}

func (p *bare) commit(b *testing.B, writes []*store.Write) {
	b.Helper()
	var ids, owners [][16]byte
	var revisions []int64
	var states, keys, values [][]byte
	for _, w := range writes {
		ids = append(ids, w.Record.ID)
		revisions = append(revisions, int64(w.Record.Revision))
		states = append(states, w.Record.State)
		for _, row := range w.Rows {
			owners, keys, values = append(owners, w.Record.ID), append(keys, row.Key), append(values, row.Value)
		}
	}
	batch := new(pgx.Batch)
	batch.Queue(`INSERT INTO state SELECT id, revision, state FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS u (id, revision, state)
		ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, state = excluded.state`, ids, revisions, states)
	if len(owners) > 0 {
		batch.Queue(`INSERT INTO item SELECT id, key, value FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS u (id, key, value)
			ON CONFLICT (id, key) DO UPDATE SET value = excluded.value`, owners, keys, values)
	}
	if err := p.conn.SendBatch(b.Context(), batch).Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAgainstBare writes each batch twice, in turn: with the store, and with a bare
// pgx program. It reports actors per second of both and the ratio, one batch at a time.
func BenchmarkAgainstBare(b *testing.B) {
	for _, lanes := range []int{1, 2} {
		for _, size := range []int{1, 16, 128, 1024} {
			for _, bytes := range []int{256, 4096} {
				b.Run(fmt.Sprintf("lanes=%d/batch=%d/state=%d", lanes, size, bytes), func(b *testing.B) {
					againstBare(b, lanes, size, bytes)
				})
			}
		}
	}
}

func againstBare(b *testing.B, lanes, size, bytes int) {
	url := pgtest.Database(b)
	s := openStore(b, postgres.Options{URL: url, Lanes: lanes})
	defer closeStore(b, s)
	p := newBare(b, session(b, url))
	all := make([]*store.Write, bareActors)
	for i := range all {
		all[i] = newActor(s, fmt.Sprint(i), put("counter", "12345678"))
		all[i].Record.State = make([]byte, bytes)
	}
	for at := 0; at < len(all); at += 1000 {
		commit(b, s, all[at:at+1000]...)
		p.commit(b, all[at:at+1000])
	}
	var ours, theirs time.Duration
	b.ResetTimer()
	for i := range b.N {
		var writes []*store.Write
		for j := range size {
			w := all[(i*size+j)%len(all)]
			w.Op, w.Expect, w.Rows = store.OpUpdate, w.Record.Revision, nil
			w.Record.Revision++
			if j%2 == 0 {
				w.Rows = []store.RowWrite{put("counter", "12345678")}
			}
			writes = append(writes, w)
		}
		began := time.Now()
		commit(b, s, writes...)
		ours += time.Since(began)
		began = time.Now()
		p.commit(b, writes)
		theirs += time.Since(began)
	}
	items := float64(b.N * size)
	b.ReportMetric(items/ours.Seconds(), "store-items/s")
	b.ReportMetric(items/theirs.Seconds(), "bare-items/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}
