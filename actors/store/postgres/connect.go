// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/troupe-dev/troupe/actors/store"
)

// oldest is the oldest version of the server that is accepted.
const oldest = 150000

// connector makes the connections of a store and refuses the servers that must not be
// used: a standby, a primary that another has replaced, another database, and one that
// may forget what it has acknowledged.
type connector struct {
	opts Options

	mu         sync.Mutex // guards the fields below
	system     string     // the identity of the database cluster; empty before the first connection
	timeline   uint64     // the newest that has been seen
	generation int64      // of the store; 0 before it has been read
}

// ApplicationName is what the sessions of a node are called in pg_stat_activity, so
// that whoever takes over from a node that has stopped can end them.
func ApplicationName(nodeID string) string { return "troupe-" + nodeID }

// session are the settings of every session. The time limits end what would hold up
// others for long: a node that has been frozen in the middle of a commit holds locks
// that the one that takes over waits for. Warnings are asked for, whatever the role's or
// the database's own settings are: one of them says that a commit did not wait for its
// standby. The rest is about plans: every statement here goes by an index, and whatever
// the statistics say at the moment, it should.
func (c *connector) session(name string) map[string]string {
	return map[string]string{
		"application_name":                    name,
		"search_path":                         c.opts.Schema,
		"idle_in_transaction_session_timeout": "3s",
		"statement_timeout":                   "5s",
		"lock_timeout":                        "2s",
		"client_min_messages":                 "warning",
		"enable_seqscan":                      "off",
		"jit":                                 "off",
		"max_parallel_workers_per_gather":     "0",
	}
}

// commitSession is added to the session of a lane: its one statement is planned once,
// perhaps for empty tables. Of its joins, each is that of some parameters with an index.
var commitSession = map[string]string{
	"plan_cache_mode":  "force_generic_plan",
	"enable_hashjoin":  "off",
	"enable_mergejoin": "off",
	"enable_material":  "off",
}

// prepare completes how to connect.
func (c *connector) prepare(config *pgx.ConnConfig, name string) {
	maps.Copy(config.RuntimeParams, c.session(name))
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	config.ValidateConnect = c.validate
}

// connect makes one connection, for a lane or, with nil, for nobody's.
func (c *connector) connect(ctx context.Context, name string, l *lane) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(c.opts.URL)
	if err != nil {
		return nil, fmt.Errorf("postgres store: %w", err) // pgx masks the password
	}
	c.prepare(config, name)
	if l != nil {
		maps.Copy(config.RuntimeParams, commitSession)
		config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
			if isDoubt(notice) {
				l.warning = notice.Message
			}
		}
	}
	return pgx.ConnectConfig(ctx, config)
}

// isDoubt reports whether a notice may say that a commit has not been copied. The warning that
// says so has no code of its own and is translated, so every warning may be it but those of
// the two functions of the server that number transactions, which say that a VACUUM is due.
func isDoubt(notice *pgconn.Notice) bool {
	if notice.SeverityUnlocalized != "WARNING" && notice.Severity != "WARNING" {
		return false
	}
	return notice.Routine != "GetNewTransactionId" && notice.Routine != "GetNewMultiXactId"
}

// pool returns a pool that connects when it is first used.
func (c *connector) pool(name string, conns int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(c.opts.URL)
	if err != nil {
		return nil, fmt.Errorf("postgres store: %w", err)
	}
	c.prepare(config.ConnConfig, name)
	config.MaxConns = int32(min(conns, 1<<15))
	config.MinConns = 0
	config.MaxConnIdleTime = 5 * time.Minute
	return pgxpool.NewWithConfig(context.Background(), config)
}

// check asks a server what it is, and which store it keeps.
const (
	check = `SELECT
		current_setting('server_version_num'),
		pg_is_in_recovery(),
		CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END,
		(SELECT system_identifier FROM pg_control_system()),
		current_setting('fsync'),
		current_setting('full_page_writes'),
		current_setting('synchronous_commit')`
	checkStore = check + `, coalesce((SELECT generation FROM store), 0)`
)

// validate is asked about each new connection. After an error, the next host of the
// connection string is tried.
func (c *connector) validate(ctx context.Context, conn *pgconn.PgConn) error {
	row, err := oneRow(ctx, conn, checkStore)
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == "42P01" { // there is no store yet
		row, err = oneRow(ctx, conn, check+", 0")
	}
	if err != nil {
		return fmt.Errorf("postgres store: ask the server what it is: %w", err)
	}
	if version, err := strconv.Atoi(row[0]); err != nil || version < oldest {
		return fmt.Errorf("%w: the server is PostgreSQL %s, and %d is the oldest that will do", errServer, row[0], oldest/10000)
	}
	if row[1] != "f" {
		return fmt.Errorf("%w: it is a standby, not the primary", errServer)
	}
	if !c.opts.UnsafeDurability {
		for i, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
			if row[4+i] == "off" {
				return fmt.Errorf("%w: its setting %s is off, so that it may lose what it has acknowledged; turn it on, or accept that with UnsafeDurability", errServer, setting)
			}
		}
	}
	generation, err := strconv.ParseInt(row[7], 10, 64)
	if err != nil {
		return fmt.Errorf("postgres store: generation of the store: %w", err)
	}
	timeline, err := strconv.ParseUint(row[2][:min(8, len(row[2]))], 16, 64)
	if err != nil {
		return fmt.Errorf("postgres store: timeline of the server: %w", err)
	}
	return c.same(row[3], timeline, generation)
}

// same refuses a server that is not the one we know, or that another has replaced.
func (c *connector) same(system string, timeline uint64, generation int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.system != "" && system != c.system:
		return fmt.Errorf("%w: it keeps another database cluster than before", errServer)
	case timeline < c.timeline:
		return fmt.Errorf("%w: it is at timeline %d, and another server has gone on from there to %d", errServer, timeline, c.timeline)
	case c.generation != 0 && generation != c.generation:
		return fmt.Errorf("%w: it keeps generation %d of the store, and this node has opened %d", errServer, generation, c.generation)
	}
	c.system, c.timeline = system, timeline
	return nil
}

// opened notes which store every further connection must lead to.
func (c *connector) opened(generation int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation = generation
}

// errServer is a server that must not be used.
var errServer = errors.New("postgres store: refusing the server")

// oneRow returns the columns of the one row that a statement without parameters gives.
func oneRow(ctx context.Context, conn *pgconn.PgConn, sql string) ([]string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) == 0 {
		return nil, errors.New("no row")
	}
	var row []string
	for _, column := range results[0].Rows[0] {
		row = append(row, string(column))
	}
	return row, nil
}

// what an error says about the statement that it ended.
type fate uint8

const (
	// fateUnknown: it may have been committed.
	fateUnknown fate = iota
	// fateNothing: nothing was sent.
	fateNothing
	// fateAgain: it was rolled back, for a reason that may be gone the next time.
	fateAgain
	// fateRefused: it was rolled back, and would be again.
	fateRefused
)

// fateOf says what is known about a statement that was a transaction by itself.
func fateOf(err error) fate {
	var server *pgconn.PgError
	switch {
	case pgconn.SafeToRetry(err):
		return fateNothing
	case !errors.As(err, &server):
		return fateUnknown
	case server.SeverityUnlocalized != "ERROR" && server.Severity != "ERROR":
		// The session was ended. That may happen during the commit, which a
		// standby has to confirm.
		return fateUnknown
	}
	switch server.Code {
	case "40001", "40P01", "55P03", "57014", "55006", "25006":
		// serialization failure, deadlock, lock or statement time-out, object in
		// use, a primary that became a standby
		return fateAgain
	}
	return fateRefused
}

// refusal is the error of a write that was rolled back.
func refusal(err error) error {
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch server.Code {
		case "53100", "53200": // disk full, out of memory
			return fmt.Errorf("%w: %w", store.ErrFull, err)
		}
	}
	if damage(err) {
		return fmt.Errorf("postgres store: commit: %w: %w", store.ErrCorrupt, err)
	}
	return fmt.Errorf("postgres store: commit: %w", err)
}

// damage reports whether the server has found a page or a value that it cannot read.
func damage(err error) bool {
	server, ok := errors.AsType[*pgconn.PgError](err)
	return ok && server.Code == "XX001"
}
