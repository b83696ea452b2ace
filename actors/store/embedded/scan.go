// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

// Scan implements [store.Store].
func (s *Store) Scan(ctx context.Context, id store.ID, kind store.Kind, r store.Range) (rows []store.Row, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	from := appendRowKey(nil, id, kind, r.From)
	to := appendRowKey(nil, id, kind, r.To)
	if r.To == nil {
		to = prefixEnd(to)
	}
	if string(from) >= string(to) {
		return nil, nil
	}
	iter, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, readError("scan rows", err)
	}
	defer func() {
		if closeErr := iter.Close(); err == nil && closeErr != nil {
			rows, err = nil, readError("scan rows", closeErr)
		}
	}()
	first, next := iter.First, iter.Next
	if r.Reverse {
		first, next = iter.Last, iter.Prev
	}
	for ok := first(); ok; ok = next() {
		row := store.Row{}
		if r.KeysOnly {
			row.Key = bytes.Clone(iter.Key()[rowOffset:])
		} else if row, err = s.rowAt(iter); err != nil {
			return nil, readError("scan rows", err)
		}
		rows = append(rows, row)
		if len(rows) == r.Limit {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	if err := iter.Error(); err != nil {
		return nil, readError("scan rows", err)
	}
	return rows, nil
}

// rowAt copies the row that iter stands on.
func (s *Store) rowAt(iter *pebble.Iterator) (store.Row, error) {
	value, err := iter.ValueAndErr()
	if err != nil {
		return store.Row{}, err
	}
	stored, err := readRow(iter.Key(), value)
	if err != nil {
		return store.Row{}, err
	}
	return stored.row(iter.Key()[rowOffset:]), nil
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, q store.ListQuery) (records []store.Record, err error) {
	if err := validQuery(ctx, q); err != nil {
		return nil, err
	}
	from := appendPart([]byte{tagRecord}, q.Namespace)
	if q.Type != "" {
		from = appendPart(from, q.Type)
		from = append(from, q.KeyPrefix...)
	}
	to := prefixEnd(append([]byte(nil), from...))
	if q.After != nil {
		if after := append(appendRecordKey(nil, *q.After), 0); string(after) > string(from) {
			from = after
		}
	}
	if string(from) >= string(to) {
		return nil, nil
	}
	iter, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, readError("list records", err)
	}
	defer func() {
		if closeErr := iter.Close(); err == nil && closeErr != nil {
			records, err = nil, readError("list records", closeErr)
		}
	}()
	for ok := iter.First(); ok && len(records) < q.Limit; ok = iter.Next() {
		r, err := s.recordAt(iter)
		if err != nil {
			return nil, readError("list records", err)
		}
		records = append(records, r)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	if err := iter.Error(); err != nil {
		return nil, readError("list records", err)
	}
	return records, nil
}

func validQuery(ctx context.Context, q store.ListQuery) error {
	switch {
	case q.Namespace == "":
		return errors.New("embedded store: a list needs a namespace")
	case q.KeyPrefix != "" && q.Type == "":
		return errors.New("embedded store: a list by key prefix needs a type")
	case q.Limit < 1:
		return errors.New("embedded store: a list needs a limit of 1 at least")
	}
	return ctx.Err()
}

// recordAt copies the record that iter stands on, without its state.
func (s *Store) recordAt(iter *pebble.Iterator) (store.Record, error) {
	value, err := iter.ValueAndErr()
	if err != nil {
		return store.Record{}, err
	}
	addr, ok := parseRecordKey(iter.Key())
	if !ok {
		return store.Record{}, corruptf(iter.Key(), "no address")
	}
	r := store.Record{Address: addr}
	if err := readRecord(iter.Key(), value, &r); err != nil {
		leftOf(value, &r)
		if err := s.settleDamage(&r); err != nil {
			return store.Record{}, err
		}
	}
	r.State = nil
	return r, nil
}
