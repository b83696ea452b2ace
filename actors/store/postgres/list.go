// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/troupe-dev/troupe/actors/store"
)

// keyHead is how much of a key the index of addresses holds: the expression in the
// migration, by which it is found. It never comes behind the whole key, so that what
// bounds the key from below or above bounds it too, once it is cut as well.
const (
	keyHead      = `substring(key FROM 1 FOR 1024)`
	keyHeadBytes = 1024
)

// List implements [store.Store].
func (s *Store) List(ctx context.Context, q store.ListQuery) (records []store.Record, err error) {
	if err := validQuery(q); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sql, params, possible := listSQL(q)
	if !possible {
		return nil, nil
	}
	for _, l := range s.lanes {
		if err := l.settled(ctx); err != nil {
			return nil, err
		}
		if err := l.certain(ctx); err != nil {
			return nil, err
		}
	}
	err = s.retry(ctx, "list records", func(ctx context.Context) error {
		rows, err := s.reads.Query(ctx, sql, params...)
		if err != nil {
			return err
		}
		records, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Record, error) {
			r, err := salvaged(scanRecord(row, false))
			if r.Damaged {
				err = nil // it is listed
			}
			return r, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

func validQuery(q store.ListQuery) error {
	switch {
	case q.Namespace == "":
		return errors.New("postgres store: a list needs a namespace")
	case q.KeyPrefix != "" && q.Type == "":
		return errors.New("postgres store: a list by key prefix needs a type")
	case q.Limit < 1:
		return errors.New("postgres store: a list needs a limit of 1 at least")
	}
	return nil
}

// listSQL puts a query together, of constants and parameters; possible is false if nothing
// can be found.
func listSQL(q store.ListQuery) (sql string, params []any, possible bool) {
	var where strings.Builder
	condition := func(format string, values ...string) {
		if where.Len() > 0 {
			where.WriteString(" AND ")
		}
		var places []any
		for _, value := range values {
			params = append(params, []byte(value))
			places = append(places, fmt.Sprintf("$%d", len(params)))
		}
		fmt.Fprintf(&where, format, places...)
	}
	condition("namespace = %s", q.Namespace)
	after := q.After
	if after != nil && after.Namespace != q.Namespace {
		if after.Namespace > q.Namespace {
			return "", nil, false
		}
		after = nil
	}
	switch {
	case q.Type == "" && after != nil:
		condition("(type, "+keyHead+") >= (%s, %s)", after.Type, head(after.Key))
		condition("(type, key) > (%s, %s)", after.Type, after.Key)
	case q.Type == "":
	default:
		condition("type = %s", q.Type)
		if after != nil && after.Type != q.Type {
			if after.Type > q.Type {
				return "", nil, false
			}
			after = nil
		}
		if after != nil {
			condition(keyHead+" >= %s", head(after.Key))
			condition("key > %s", after.Key)
		}
		if q.KeyPrefix != "" {
			condition(keyHead+" >= %s", head(q.KeyPrefix))
			condition("key >= %s", q.KeyPrefix)
			if past, ok := pastPrefix(q.KeyPrefix); ok {
				condition(keyHead+" < %s", past)
				condition("key < %s", past)
			}
		}
	}
	params = append(params, int64(q.Limit))
	return fmt.Sprintf("SELECT %soctet_length(state)::bigint FROM actor WHERE %s ORDER BY type, %s, key LIMIT $%d",
		recordColumns, where.String(), keyHead, len(params)), params, true
}

func head(key string) string { return key[:min(len(key), keyHeadBytes)] }

// pastPrefix returns the first key behind all that begin with a prefix, if there is one.
func pastPrefix(prefix string) (string, bool) {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1]), true
		}
	}
	return "", false
}
