// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/troupe-dev/troupe/actors/store"
)

// Visit connects to the database of a store without opening the store: this process is
// none of its nodes and changes no schema. It is for those who look at the nodes, or
// tell them something. The pool has one connection, and is the caller's to close. It
// fails with [store.ErrFormat], among others, if no node of this version of Troupe has
// used the database yet.
func Visit(ctx context.Context, options Options) (*pgxpool.Pool, store.Info, error) {
	opts, err := options.withDefaults()
	if err != nil {
		return nil, store.Info{}, err
	}
	c := &connector{opts: opts}
	m, err := c.look(ctx)
	if err != nil {
		return nil, store.Info{}, err
	}
	c.opened(m.generation)
	pool, err := c.pool("troupe", 1)
	if err != nil {
		return nil, store.Info{}, err
	}
	return pool, m.info(), nil
}

// look says what the store is, as it is found.
func (c *connector) look(ctx context.Context) (m meta, err error) {
	conn, err := c.connect(ctx, "troupe", nil)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	all, err := migrations()
	if err != nil {
		return m, fmt.Errorf("postgres store: %w", err)
	}
	version, err := schemaVersion(ctx, conn)
	switch {
	case err != nil:
		return m, fmt.Errorf("postgres store: read the schema's version: %w", err)
	case version == 0:
		return m, fmt.Errorf("%w: the database has no store in the schema %q: the first node that starts makes it", store.ErrFormat, c.opts.Schema)
	case version < len(all):
		return m, fmt.Errorf("%w: the schema %q of the database has version %d and this program knows %d; a node of this program brings it up to date when it starts",
			store.ErrFormat, c.opts.Schema, version, len(all))
	case version > len(all):
		return m, tooNew(c.opts, version, len(all))
	}
	return readMeta(ctx, conn, c.opts, version)
}
