// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/troupe-dev/troupe/actors/store"
)

const (
	byAddress = `SELECT ` + recordColumns + `state FROM actor WHERE digest = $1`
	byID      = `SELECT ` + recordColumns + `state FROM actor WHERE id = $1`
)

const recordColumns = `id, revision, state_version, quarantined, event_head, created_at, sum, namespace, type, key, `

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, addr store.Address) (store.Record, error) {
	r, err := s.loadAt(ctx, addr)
	if err != nil {
		return store.Record{}, err
	}
	return r, nil
}

func (s *Store) loadAt(ctx context.Context, addr store.Address) (store.Record, error) {
	r, err := s.load(ctx, store.ShardOf(addr, s.meta.shards), byAddress, digest(addr))
	if err == nil && r.Address != addr {
		err = fmt.Errorf("postgres store: load: %w: actor %s stands where another should", store.ErrCorrupt, r.ID)
	}
	return r, err
}

// LoadID implements [store.Store].
func (s *Store) LoadID(ctx context.Context, id store.ID) (store.Record, error) {
	r, err := s.loadID(ctx, id)
	if err != nil {
		return store.Record{}, err
	}
	return r, nil
}

func (s *Store) loadID(ctx context.Context, id store.ID) (store.Record, error) {
	r, err := s.load(ctx, id.Shard(), byID, [16]byte(id))
	if err == nil && r.ID != id {
		err = fmt.Errorf("postgres store: load: %w: actor %s stands where %s should", store.ErrCorrupt, r.ID, id)
	}
	return r, err
}

// load returns with [store.ErrCorrupt] what there is.
func (s *Store) load(ctx context.Context, shard uint16, sql string, by [16]byte) (r store.Record, err error) {
	err = s.read(ctx, "load", shard, func(ctx context.Context) error {
		row := s.reads.QueryRow(ctx, sql, by)
		r, err = scanRecord(row, true)
		if errors.Is(err, pgx.ErrNoRows) {
			return store.ErrNotFound
		}
		return err
	})
	return r, err
}

// scanRecord reads recordColumns and the state or, without it, its length.
func scanRecord(row pgx.Row, withState bool) (store.Record, error) {
	var (
		r                          store.Record
		revision, version, head    int64
		created, sum               int64
		namespace, typ, key, state []byte
		length                     int64
	)
	last := any(&state)
	if !withState {
		last = &length
	}
	err := row.Scan((*[16]byte)(&r.ID), &revision, &version, &r.Quarantined, &head, &created, &sum, &namespace, &typ, &key, last)
	if err != nil {
		return r, err
	}
	r.Namespace, r.Type, r.Key = string(namespace), string(typ), string(key)
	r.Revision, r.StateVersion, r.EventHead = bits(revision), uint32(bits(version)), bits(head)
	r.CreatedAt = time.UnixMilli(created).UTC()
	r.State, r.StateBytes = state, len(state)
	if !withState {
		r.StateBytes = int(length)
	}
	return r, checkRecord(&r, sum, withState)
}

// read does what reads something of a shard, once everything is settled that was
// committed to it before.
func (s *Store) read(ctx context.Context, doing string, shard uint16, do func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.lanes[s.laneOf(shard)].await(ctx, shard); err != nil {
		return err
	}
	return s.retry(ctx, doing, do)
}

// retry does something that changes nothing, and again as long as it fails for want of
// a connection.
func (s *Store) retry(ctx context.Context, doing string, do func(ctx context.Context) error) error {
	if s.closed.Load() {
		return errClosed
	}
	if err := s.node.Load().err(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	for pause := newPause(); ; pause.wait(limited) {
		err := do(limited)
		switch {
		case err == nil, errors.Is(err, store.ErrNotFound):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, store.ErrCorrupt):
			return fmt.Errorf("postgres store: %s: %w", doing, err)
		case damage(err):
			return fmt.Errorf("postgres store: %s: %w: %w", doing, store.ErrCorrupt, err)
		case limited.Err() != nil:
			return fmt.Errorf("postgres store: %s: %w: %w", doing, store.ErrUnavailable, err)
		case !disconnected(err):
			return fmt.Errorf("postgres store: %s: %w", doing, err)
		}
	}
}

// disconnected reports whether an error is about the connection and not about what was
// asked.
func disconnected(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return true
	}
	return server.SeverityUnlocalized != "ERROR" && server.Severity != "ERROR" || server.Code == "40001" || server.Code == "40P01"
}
