// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package postgres keeps actors in a PostgreSQL database, which many nodes share.
//
// A batch of writes is one statement for each lane that it touches, one round trip
// each: it locks the lane's row, which says that this node is not dead, compares and
// sets the revision of each actor, writes the rows of those that fit, and notes that it
// was done. What a node may do ends with its row in the table node: see the migration
// files, which document the tables.
//
// # Reading the source
//
// store.go opens and closes; connect.go makes connections, migrate.go the schema and
// node.go the node's rows. commit.go hands writes to the lanes, lane.go sends them,
// statement.go is what is sent, batch.go and array.go put it into parameters, and
// resolve.go asks what became of a statement whose answer was lost. load.go, scan.go,
// due.go and list.go read; value.go is what a value is checked by.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/troupe-dev/troupe/actors/store"
)

var errClosed = errors.New("postgres store: closed")

// Store is an open store. Its methods may be called concurrently.
type Store struct {
	opts    Options
	meta    meta
	connect *connector
	node    atomic.Pointer[node]
	lanes   []*lane
	reads   *pgxpool.Pool
	control *pgxpool.Pool
	metrics metrics

	working sync.WaitGroup // the lanes, and what they have begun
	closed  atomic.Bool
}

var _ store.Store = (*Store)(nil)

// Open opens the store in a database, makes its tables at the first start, and makes
// this process one of its nodes. It fails with [store.ErrFormat], among others.
func Open(ctx context.Context, options Options) (*Store, error) {
	opts, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &connector{opts: opts}
	conn, err := c.connect(ctx, "troupe", nil)
	if err != nil {
		return nil, err
	}
	s := &Store{opts: opts, connect: c}
	n, err := s.register(ctx, conn)
	if err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))); err != nil {
		return nil, err
	}
	// Both connect when they are used.
	if s.control, err = c.pool("troupe", 2); err != nil {
		return nil, err
	}
	if s.reads, err = c.pool("troupe", opts.ReadConns); err != nil {
		s.control.Close()
		return nil, err
	}
	if err := s.begin(ctx, n); err != nil {
		s.reads.Close()
		s.control.Close()
		return nil, err
	}
	return s, nil
}

// register brings the schema up to date and makes the node's rows.
func (s *Store) register(ctx context.Context, conn *pgx.Conn) (*node, error) {
	m, err := migrate(ctx, conn, s.opts)
	if err != nil {
		return nil, err
	}
	s.meta = m
	s.connect.opened(m.generation)
	if err := bury(ctx, conn); err != nil {
		s.opts.Logger.Warn("nodes of the past are left in the database", "error", err)
	}
	return join(ctx, conn, s.opts.Lanes)
}

// begin starts the lanes once they are connected.
func (s *Store) begin(ctx context.Context, n *node) error {
	s.node.Store(n)
	var opening sync.WaitGroup
	failed := make([]error, s.opts.Lanes)
	for number := range s.opts.Lanes {
		l := newLane(s, number)
		s.lanes = append(s.lanes, l)
		opening.Go(func() { failed[number] = l.open(ctx, n) })
	}
	opening.Wait()
	if err := errors.Join(failed...); err != nil {
		for _, l := range s.lanes {
			l.hangUp(ctx)
		}
		return errors.Join(fmt.Errorf("postgres store: %w", err), leave(ctx, s.control, n))
	}
	for _, l := range s.lanes {
		s.working.Go(l.run)
	}
	return nil
}

// Pool is a pool of two connections that nothing of the store uses while it is open, so
// that renewing a lease never waits behind a read. Its sessions have the schema of the
// store as their search path and the time limits of all others.
func (s *Store) Pool() *pgxpool.Pool { return s.control }

// Info implements [store.Store].
func (s *Store) Info() store.Info {
	return s.meta.info()
}

// Close implements [store.Store]. It waits for what has begun, no longer than
// Options.Patience for each lane, and marks the node dead.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return errClosed
	}
	for _, l := range s.lanes {
		l.stop()
	}
	s.working.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.Patience)
	defer cancel()
	err := leave(ctx, s.control, s.node.Load())
	s.reads.Close()
	s.control.Close()
	return err
}
