// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

var _ store.Measurer = (*Store)(nil)

// Measure implements [store.Measurer]. It copies nothing, and asks the filters first
// where there is no row.
func (s *Store) Measure(ctx context.Context, id store.ID, kind store.Kind, keys [][]byte) ([]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	key, done := s.key()
	defer done()
	sizes := make([]int, len(keys))
	for n := range keys {
		*key = appendRowKey((*key)[:0], id, kind, keys[n])
		size, err := s.measure(*key)
		if err != nil {
			return nil, readError("measure a row", err)
		}
		if size >= 0 {
			sizes[n] = len(keys[n]) + size
		}
	}
	return sizes, nil
}

// measure returns the bytes of a row's value, less than 0 if there is no such row.
func (s *Store) measure(key []byte) (size int, err error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	stored, err := readRow(key, value)
	return len(stored.value), errors.Join(err, closer.Close())
}
