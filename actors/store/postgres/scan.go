// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"

	"github.com/troupe-dev/troupe/actors/store"
)

const (
	rowsFrom     = ` FROM actor_row WHERE actor = $1 AND kind = $2 AND key >= $3 AND key < $4 ORDER BY key`
	scanRows     = `SELECT key, value, due, sum` + rowsFrom + ` LIMIT $5`
	scanRowsBack = `SELECT key, value, due, sum` + rowsFrom + ` DESC LIMIT $5`
	scanKeys     = `SELECT key` + rowsFrom + ` LIMIT $5`
	scanKeysBack = `SELECT key` + rowsFrom + ` DESC LIMIT $5`
)

// Scan implements [store.Store].
func (s *Store) Scan(ctx context.Context, id store.ID, kind store.Kind, r store.Range) (found []store.Row, err error) {
	first, past := r.From, r.To
	if first == nil {
		first = []byte{}
	}
	if past == nil {
		past = topKey
	}
	var limit *int64
	if r.Limit > 0 {
		n := int64(r.Limit)
		limit = &n
	}
	sql := scanRows
	switch {
	case r.KeysOnly && r.Reverse:
		sql = scanKeysBack
	case r.KeysOnly:
		sql = scanKeys
	case r.Reverse:
		sql = scanRowsBack
	}
	err = s.read(ctx, "scan rows", id.Shard(), func(ctx context.Context) error {
		found = nil
		rows, err := s.reads.Query(ctx, sql, [16]byte(id), int16(kind), first, past, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				key, value []byte
				due        *int64
				sum        int32
			)
			if r.KeysOnly {
				if err := rows.Scan(&key); err != nil {
					return err
				}
				found = append(found, store.Row{Key: key})
				continue
			}
			if err := rows.Scan(&key, &value, &due, &sum); err != nil {
				return err
			}
			row, err := checkRow(id, kind, key, value, due, sum)
			if err != nil {
				return err
			}
			found = append(found, row)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}
