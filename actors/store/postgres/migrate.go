// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/troupe-dev/troupe/actors/store"
)

// hashName names the hash of store.ShardOf.
const hashName = "fnv1a64"

//go:embed migration/*.sql
var migrationFiles embed.FS

// migration is a step from one schema to the next.
type migration struct {
	version int
	name    string
	sql     string
}

// migrations are all that this program knows, in order, from 1 on without a gap.
func migrations() ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "migration/*.sql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for i, name := range names {
		sql, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		base := strings.TrimSuffix(strings.TrimPrefix(name, "migration/"), ".sql")
		number, _, _ := strings.Cut(base, "_")
		if version, err := strconv.Atoi(number); err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s is number %d", base, i+1)
		}
		all = append(all, migration{version: i + 1, name: base, sql: string(sql)})
	}
	return all, nil
}

// meta describes a store.
type meta struct {
	format     int
	generation int64
	shards     uint16
	hash       string
}

func (m meta) info() store.Info {
	return store.Info{Format: m.format, Generation: uint64(m.generation), Shards: m.shards}
}

// Migrate brings the schema of a database up to date, which [Open] does too. It is for
// a role that may change the schema, where the server's own role may not. It is safe to
// run from many places at once, and beside servers that run.
func Migrate(ctx context.Context, options Options) error {
	opts, err := options.withDefaults()
	if err != nil {
		return err
	}
	c := &connector{opts: opts}
	conn, err := c.connect(ctx, "troupe", nil)
	if err != nil {
		return err
	}
	_, err = migrate(ctx, conn, opts)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// migrate makes the schema or brings it up to date, and says what the store is.
func migrate(ctx context.Context, conn *pgx.Conn, opts Options) (m meta, err error) {
	all, err := migrations()
	if err != nil {
		return m, fmt.Errorf("postgres store: %w", err)
	}
	version, err := schemaVersion(ctx, conn)
	if err != nil {
		return m, fmt.Errorf("postgres store: read the schema's version: %w", err)
	}
	switch {
	case version > len(all):
		return m, tooNew(opts, version, len(all))
	case version < len(all):
		if err := upgrade(ctx, conn, opts, all); err != nil {
			return m, err
		}
	}
	return readMeta(ctx, conn, opts, len(all))
}

// readMeta says what the store is, whose schema is up to date.
func readMeta(ctx context.Context, conn *pgx.Conn, opts Options, format int) (meta, error) {
	m := meta{format: format}
	var shards int32
	if err := conn.QueryRow(ctx, `SELECT generation, shards, shard_hash FROM store`).Scan(&m.generation, &shards, &m.hash); err != nil {
		return m, fmt.Errorf("postgres store: read what the store is: %w", err)
	}
	m.shards = uint16(shards)
	switch {
	case m.hash != hashName:
		return m, fmt.Errorf("%w: its actors are placed by the hash %q and this program uses %q", store.ErrFormat, m.hash, hashName)
	case opts.Shards != 0 && opts.Shards != m.shards:
		return m, fmt.Errorf("%w: the store has %d shards and Options.Shards is %d; the number is fixed at the first start",
			store.ErrFormat, m.shards, opts.Shards)
	}
	return m, nil
}

func tooNew(opts Options, version, known int) error {
	return fmt.Errorf("%w: the schema %q of the database has version %d and this program knows %d; run a newer version of Troupe",
		store.ErrFormat, opts.Schema, version, known)
}

// schemaVersion returns the number of the newest migration; 0 if there is no schema.
func schemaVersion(ctx context.Context, conn *pgx.Conn) (version int, err error) {
	var there bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('migration') IS NOT NULL`).Scan(&there); err != nil || !there {
		return 0, err
	}
	err = conn.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM migration`).Scan(&version)
	return version, err
}

// upgrade applies what is missing, under a lock that every other node waits for.
func upgrade(ctx context.Context, conn *pgx.Conn, opts Options, all []migration) error {
	if err := makeLock(ctx, conn, opts.Schema); err != nil {
		return fmt.Errorf("postgres store: make the schema %q: %w", opts.Schema, explain(err))
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("postgres store: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // does nothing once it is committed
	// Another node may take its time, and a migration may take long.
	if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = on`); err != nil {
		return fmt.Errorf("postgres store: %w", err)
	}
	if _, err := tx.Exec(ctx, `SELECT FROM migration WHERE version = 0 FOR UPDATE`); err != nil {
		return fmt.Errorf("postgres store: wait for the lock of the schema: %w", explain(err))
	}
	version, err := schemaVersion(ctx, conn)
	if err != nil {
		return fmt.Errorf("postgres store: read the schema's version: %w", err)
	}
	for _, m := range all[min(version, len(all)):] {
		if _, err := tx.Exec(ctx, m.sql); err != nil {
			return fmt.Errorf("postgres store: migration %s: %w", m.name, explain(err))
		}
		if _, err := tx.Exec(ctx, `INSERT INTO migration (version, name) VALUES ($1, $2)`, m.version, m.name); err != nil {
			return fmt.Errorf("postgres store: migration %s: %w", m.name, err)
		}
	}
	if version == 0 {
		if err := describe(ctx, tx, opts.newShards()); err != nil {
			return fmt.Errorf("postgres store: write what the store is: %w", err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("postgres store: migrate: %w", err)
	}
	return nil
}

// makeLock makes the schema and the table whose row 0 is the lock. Nodes that do so at
// the same moment get in each other's way, in the catalog: then it is tried again.
func makeLock(ctx context.Context, conn *pgx.Conn, schema string) error {
	identifier := pgx.Identifier{schema}.Sanitize()
	for attempt := 0; ; attempt++ {
		var there bool // a role may use a schema without the right to make one
		err := conn.QueryRow(ctx, `SELECT to_regnamespace($1) IS NOT NULL`, identifier).Scan(&there)
		if err == nil && !there {
			_, err = conn.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+identifier)
		}
		if err == nil {
			_, err = conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS migration (
				version    integer PRIMARY KEY,
				name       text NOT NULL,
				applied_at timestamptz NOT NULL DEFAULT clock_timestamp())`)
		}
		if err == nil {
			_, err = conn.Exec(ctx, `INSERT INTO migration (version, name) VALUES (0, 'lock') ON CONFLICT DO NOTHING`)
		}
		var server *pgconn.PgError
		if err == nil || attempt == 20 || !errors.As(err, &server) {
			return err
		}
		switch server.Code {
		case "23505", "42P06", "42P07", "42710", "XX000", "40001", "40P01":
			// unique violation in the catalog, schema, table or type that is there
			// already, a tuple that another has changed
		default:
			return err
		}
	}
}

// describe writes what a new store is, and a row for each shard.
func describe(ctx context.Context, tx pgx.Tx, shards uint16) error {
	var generation int64
	for generation == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails: see crypto/rand
		generation = int64(binary.BigEndian.Uint64(b[:]))
	}
	if _, err := tx.Exec(ctx, `INSERT INTO store (generation, shards, shard_hash) VALUES ($1, $2, $3)`,
		generation, int32(shards), hashName); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO shard (shard) SELECT generate_series(0, $1::integer - 1)`, int32(shards))
	return err
}

// explain adds what to do to an error of a role that may not change the schema.
func explain(err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == "42501" {
		return fmt.Errorf("%w; this role may not change the schema: migrate once with one that may", err)
	}
	return err
}
