// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/troupe-dev/troupe/actors/store"
)

// Salvage implements [store.Store].
func (s *Store) Salvage(ctx context.Context, addr store.Address, id store.ID) (store.Record, error) {
	if id.IsZero() {
		r, err := s.loadAt(ctx, addr)
		r.Address = addr
		return salvaged(r, err)
	}
	r, err := s.loadID(ctx, id)
	if errors.Is(err, store.ErrCorrupt) {
		// The address is its own if its digest leads to the same row.
		if at, again := s.loadAt(ctx, r.Address); at.ID != id || again != nil && !errors.Is(again, store.ErrCorrupt) {
			return store.Record{}, err
		}
	}
	return salvaged(r, err)
}

// salvaged is what Salvage and List give of a record that was read, damaged or not.
func salvaged(r store.Record, err error) (store.Record, error) {
	switch {
	case err == nil:
		return r, nil
	case !errors.Is(err, store.ErrCorrupt):
		return store.Record{}, err
	}
	r.Damaged = true
	if r.Revision == 0 {
		r.Revision = store.UnknownRevision
	}
	return r, err
}

// expected is the revision that the stored record of a write must have.
func expected(w *store.Write) uint64 {
	if w.Mend && w.Expect == store.UnknownRevision {
		return 0
	}
	return w.Expect
}

// mendStatement is the statement of the commit for a single update of a record that is
// damaged: it sets what no other update changes, too.
func mendStatement() string {
	return strings.Replace(commitStatement(), "state = u.state",
		"state = u.state, namespace = $41::bytea, type = $42::bytea, key = $43::bytea", 1)
}
