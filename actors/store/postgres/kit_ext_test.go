// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/troupe-dev/troupe/actors/store"
)

var day = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func newActor(s store.Store, key string, rows ...store.RowWrite) *store.Write {
	addr := store.Address{Namespace: "acme", Type: "shop.v1.Cart", Key: key}
	return &store.Write{Op: store.OpCreate, Rows: rows, Record: store.Record{
		Address: addr, ID: store.NewID(store.ShardOf(addr, s.Info().Shards)), Revision: 1,
		State: []byte("born"), StateBytes: 4, CreatedAt: day,
	}}
}

// after is the turn that follows a write.
func after(w *store.Write, state string, rows ...store.RowWrite) *store.Write {
	next := &store.Write{Op: store.OpUpdate, Expect: w.Record.Revision, Record: w.Record, Rows: rows}
	next.Record.Revision++
	next.Record.State, next.Record.StateBytes = []byte(state), len(state)
	return next
}

func put(key, value string) store.RowWrite {
	return store.RowWrite{Kind: store.KindKV, Row: store.Row{Key: []byte(key), Value: []byte(value)}}
}

func commit(t testing.TB, s store.Store, writes ...*store.Write) {
	t.Helper()
	s.Commit(t.Context(), writes).Wait()
	for _, w := range writes {
		if w.Err != nil {
			t.Fatalf("commit of %q: %v", w.Record.Key, w.Err)
		}
	}
}

func stateOf(t testing.TB, s store.Store, w *store.Write) string {
	t.Helper()
	r, err := s.Load(t.Context(), w.Record.Address)
	if err != nil {
		t.Fatalf("Load of %q: %v", w.Record.Key, err)
	}
	return string(r.State)
}

// session is a connection that sees the tables of a store in the usual schema.
func session(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["search_path"] = "troupe"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // it may be closed already
	return conn
}

func exec(t testing.TB, conn *pgx.Conn, sql string, params ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, params...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// number asks for a number.
func number(t testing.TB, conn *pgx.Conn, sql string, params ...any) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, params...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// until asks for a number again and again until it is positive.
func until(t testing.TB, conn *pgx.Conn, sql string, params ...any) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for number(t, conn, sql, params...) == 0 {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("%s: never", sql)
		}
	}
}
