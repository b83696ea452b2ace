// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package pgtest

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/troupe-dev/troupe/actors/store"
)

// Bare writes what a store is given the way a program would that has one writer, no
// fence and no doubts: one transaction of two statements in one round trip. It is what
// the store is measured against, and belongs to one goroutine.
type Bare struct{ conn *pgx.Conn }

// NewBare connects to a database, and makes the tables in a schema of their own unless
// another has. Only one may do so at a time.
func NewBare(ctx context.Context, url string) (*Bare, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS bare; SET search_path = bare; SET enable_seqscan = off; SET statement_timeout = 0;
		CREATE TABLE IF NOT EXISTS state (id uuid PRIMARY KEY, revision bigint NOT NULL, state bytea NOT NULL) WITH (fillfactor = 70);
		CREATE TABLE IF NOT EXISTS item (id uuid, key bytea, value bytea NOT NULL, PRIMARY KEY (id, key))`); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return &Bare{conn}, nil
}

// Commit writes a batch and waits until it is durable.
func (p *Bare) Commit(ctx context.Context, writes []*store.Write) error {
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
	return p.conn.SendBatch(ctx, batch).Close()
}

// Close closes the connection.
func (p *Bare) Close() error { return p.conn.Close(context.Background()) }
