// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/troupe-dev/troupe/actors/store"
)

// node is one membership of this process: a row of the table node, whose id is the
// fence of every commit made under it.
type node struct {
	id     [16]byte
	fenced atomic.Bool // the database has refused it, for good
}

// String is the id as PostgreSQL writes it.
func (n *node) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", n.id[:4], n.id[4:6], n.id[6:8], n.id[8:10], n.id[10:])
}

// err is what a node gets that has been fenced.
func (n *node) err() error {
	if n.fenced.Load() {
		return fmt.Errorf("%w: node %s", store.ErrFenced, n)
	}
	return nil
}

// database is a connection or a pool of them.
type database interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	Exec(ctx context.Context, sql string, params ...any) (pgconn.CommandTag, error)
}

// join makes the rows of a new node.
func join(ctx context.Context, db database, lanes int) (*node, error) {
	n := new(node)
	_, _ = rand.Read(n.id[:]) // never fails: see crypto/rand
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO node (id) VALUES ($1)`, n.id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO lane (node, lane) SELECT $1, generate_series(0, $2::integer - 1)`, n.id, lanes); err != nil {
			return err
		}
		// The one before the first.
		_, err := tx.Exec(ctx, `INSERT INTO lane_commit (node, lane, seq) SELECT $1, generate_series(0, $2::integer - 1), 0`, n.id, lanes)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("postgres store: register the node: %w", err)
	}
	return n, nil
}

// fence ends a node whose commits the database does not take any more, and has the
// database know it, in case it does not: otherwise the node would renew its lease and
// hold its shards for nothing. A lane calls it.
func (s *Store) fence(n *node, why string) {
	if n.fenced.Swap(true) {
		return
	}
	s.opts.Logger.Error(why, "node", n.String())
	s.working.Go(func() {
		for !s.closed.Load() && s.node.Load() == n {
			ctx, cancel := context.WithTimeout(context.Background(), s.opts.Patience)
			err := leave(ctx, s.control, n)
			cancel()
			if err == nil {
				return
			}
			s.opts.Logger.Warn("a node that is out could not be signed off", "node", n.String(), "error", err)
			<-time.After(signOffPause)
		}
	})
}

// signOffPause is how long the store waits before it tries again to sign a node off.
const signOffPause = 500 * time.Millisecond

// leave marks a node dead, so that nobody waits for its lease to end.
func leave(ctx context.Context, db database, n *node) error {
	if _, err := db.Exec(ctx, `UPDATE node SET dead = true WHERE id = $1 AND NOT dead`, n.id); err != nil {
		return fmt.Errorf("postgres store: sign the node off: %w", err)
	}
	return nil
}

// bury removes what nodes have left that have been dead for a day and hold no shard.
func bury(ctx context.Context, db database) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `DELETE FROM node n
			WHERE n.dead AND coalesce(n.expires_at, n.started_at) < clock_timestamp() - interval '1 day'
			AND NOT EXISTS (SELECT FROM shard s WHERE s.owner = n.id) RETURNING n.id`)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
		if err != nil || len(ids) == 0 {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM lane_commit WHERE node = ANY ($1)`, ids)
		return err
	})
	if err != nil {
		return fmt.Errorf("postgres store: remove nodes of the past: %w", err)
	}
	return nil
}

// NodeID is the id of this node in the table node, in PostgreSQL's notation of a uuid.
// It changes with [Store.Rejoin] only.
func (s *Store) NodeID() string { return s.node.Load().String() }

// Rejoin makes this process a new node, with a new id, after the one that it was has
// been declared dead. A Commit that was called before belongs to the old one, and what
// the database has not taken of it by then is refused with [store.ErrFenced].
//
// It must be called only when nothing runs any more of what ran under the old id: the
// new one holds no shard, and the database does not know which shards a commit touches.
func (s *Store) Rejoin(ctx context.Context) error {
	s.node.Load().fenced.Store(true)
	for _, l := range s.lanes {
		if err := l.settled(ctx); err != nil {
			return err
		}
	}
	n, err := join(ctx, s.control, len(s.lanes))
	if err != nil {
		return err
	}
	old := s.node.Swap(n)
	s.opts.Logger.Info("the store goes on as a new node", "node", n.String(), "before", old.String())
	return leave(ctx, s.control, old)
}
