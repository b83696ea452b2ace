// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// errUnconfirmed is why a lane waits after a failover.
var errUnconfirmed = errors.New("the database has taken over from another, and this node has not renewed its lease there yet")

// confirm refuses a new connection for commits until the node, if it takes part in
// placement, has renewed its lease with this very database. One that has taken over from
// another may have forgotten that the node was dead, or who had got its shards.
func confirm(ctx context.Context, conn *pgx.Conn, n *node) error {
	var confirmed bool
	err := conn.QueryRow(ctx, `SELECT timeline IS NULL
		OR timeline = ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint
		FROM node WHERE id = $1`, n.id).Scan(&confirmed)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // the fence will tell
		return nil
	case err != nil:
		return fmt.Errorf("ask whether the node is known: %w", err)
	case !confirmed:
		return errUnconfirmed
	}
	return nil
}
