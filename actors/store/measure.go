// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"slices"
)

// Measurer is a [Store] that tells the sizes of rows for less than it costs to read
// them, or of many at once.
type Measurer interface {
	// Measure returns the bytes of key and value of each of an actor's rows of one
	// kind, in the order of the keys; 0 for one that is not there. It sees what Load
	// sees.
	Measure(ctx context.Context, id ID, kind Kind, keys [][]byte) ([]int, error)
}

// Measure is [Measurer.Measure] for any store.
func Measure(ctx context.Context, s Store, id ID, kind Kind, keys [][]byte) ([]int, error) {
	if m, ok := s.(Measurer); ok {
		return m.Measure(ctx, id, kind, keys)
	}
	sizes := make([]int, len(keys))
	for n, key := range keys {
		rows, err := s.Scan(ctx, id, kind, Range{From: key, To: append(slices.Clip(key), 0), Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			sizes[n] = len(rows[0].Key) + len(rows[0].Value)
		}
	}
	return sizes, nil
}
