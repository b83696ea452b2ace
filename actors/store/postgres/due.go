// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/troupe-dev/troupe/actors/store"
)

const dueRows = `SELECT actor, key, value, due, sum FROM actor_row
	WHERE shard = $1 AND kind = $2 AND due <= $3 AND (due, actor, key) > ($4, $5, $6)
	ORDER BY due, actor, key LIMIT $7`

// Due implements [store.Store].
func (s *Store) Due(ctx context.Context, shard uint16, kind store.Kind, until time.Time, after *store.DueRow, limit int) (found []store.DueRow, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, nil
	}
	// In front of everything: an id of zeros is nobody's.
	place := store.DueRow{Row: store.Row{Key: []byte{}}}
	micros := int64(math.MinInt64)
	if after != nil {
		place, micros = *after, after.Due.UnixMicro()
	}
	if place.Key == nil {
		place.Key = []byte{}
	}
	err = s.read(ctx, "scan the due index", shard, func(ctx context.Context) error {
		found = nil
		rows, err := s.reads.Query(ctx, dueRows, int32(shard), int16(kind), until.UnixMicro(), micros, [16]byte(place.ID), place.Key, int64(limit))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				id         store.ID
				key, value []byte
				due        int64
				sum        int32
			)
			if err := rows.Scan((*[16]byte)(&id), &key, &value, &due, &sum); err != nil {
				return err
			}
			row, err := checkRow(id, kind, key, value, &due, sum)
			if err != nil {
				row = store.Row{Key: key, Due: time.UnixMicro(due).UTC()}
			}
			found = append(found, store.DueRow{ID: id, Row: row, Damaged: err != nil})
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// firstRows looks once into the due index for each shard.
const firstRows = `SELECT s.shard, first.due FROM shard s CROSS JOIN LATERAL (
		SELECT r.due FROM actor_row r WHERE r.shard = s.shard AND r.kind = $1 AND r.due IS NOT NULL
		ORDER BY r.due LIMIT 1
	) first ORDER BY s.shard`

// DueShards implements [store.Store].
func (s *Store) DueShards(ctx context.Context, kind store.Kind) (found []store.DueShard, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, l := range s.lanes {
		if err := l.settled(ctx); err != nil {
			return nil, err
		}
	}
	err = s.retry(ctx, "find the shards with due rows", func(ctx context.Context) error {
		rows, err := s.reads.Query(ctx, firstRows, int16(kind))
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.DueShard, error) {
			var (
				shard int32
				due   int64
			)
			err := row.Scan(&shard, &due)
			return store.DueShard{Shard: uint16(shard), From: time.UnixMicro(due)}, err
		})
		return err
	})
	return found, err
}

// expireRows waits for nobody: what a commit holds is left for the next time.
const expireRows = `
WITH fence AS MATERIALIZED (
	SELECT n.id FROM node n WHERE n.id = $1 AND NOT n.dead FOR SHARE OF n
), over AS MATERIALIZED (
	SELECT r.actor, r.kind, r.key FROM actor_row r
	WHERE r.shard = $2 AND r.kind = $3 AND r.due <= $4 AND EXISTS (SELECT FROM fence)
	ORDER BY r.due, r.actor, r.key LIMIT $5 FOR UPDATE OF r SKIP LOCKED
), gone AS (
	DELETE FROM actor_row r USING over o
	WHERE r.actor = o.actor AND r.kind = o.kind AND r.key = o.key
	RETURNING r.kind
)
SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM gone)`

// Expire implements [store.Store]. It is durable when it returns, which it need not be.
func (s *Store) Expire(ctx context.Context, shard uint16, kind store.Kind, until time.Time, limit int) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if limit < 1 {
		return 0, nil
	}
	if err := s.lanes[s.laneOf(shard)].await(ctx, shard); err != nil {
		return 0, err
	}
	node := s.node.Load()
	if err := node.err(); err != nil {
		return 0, err
	}
	if s.closed.Load() {
		return 0, errClosed
	}
	var alive, gone int64
	err = s.reads.QueryRow(ctx, expireRows, node.id, int32(shard), int16(kind), until.UnixMicro(), int64(limit)).Scan(&alive, &gone)
	switch {
	case err != nil && ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, fmt.Errorf("postgres store: remove rows that are over: %w", err)
	case alive == 0:
		node.fenced.Store(true)
		return 0, node.err()
	}
	return int(gone), nil
}
