// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

const bareActors = 10_000

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
	p, err := pgtest.NewBare(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close() }() // it has served its purpose
	write := func(writes []*store.Write) {
		if err := p.Commit(b.Context(), writes); err != nil {
			b.Fatal(err)
		}
	}
	all := make([]*store.Write, bareActors)
	for i := range all {
		all[i] = newActor(s, fmt.Sprint(i), put("counter", "12345678"))
		all[i].Record.State = make([]byte, bytes)
	}
	for at := 0; at < len(all); at += 1000 {
		commit(b, s, all[at:at+1000]...)
		write(all[at : at+1000])
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
		write(writes)
		theirs += time.Since(began)
	}
	items := float64(b.N * size)
	b.ReportMetric(items/ours.Seconds(), "store-items/s")
	b.ReportMetric(items/theirs.Seconds(), "bare-items/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}
