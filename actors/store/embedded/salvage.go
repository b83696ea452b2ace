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

// Salvage implements [store.Store].
func (s *Store) Salvage(ctx context.Context, addr store.Address, id store.ID) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	if id.IsZero() {
		return s.salvage(addr)
	}
	addr, err := s.getAddress(appendIDKey(nil, id))
	if err != nil {
		return store.Record{}, err
	}
	r, err := s.salvage(addr)
	if r.ID != id && (err == nil || errors.Is(err, store.ErrCorrupt)) {
		return store.Record{}, store.ErrNotFound
	}
	return r, err
}

// salvage reads the record at an address, damaged or not.
func (s *Store) salvage(addr store.Address) (store.Record, error) {
	key := appendRecordKey(nil, addr)
	r := store.Record{Address: addr}
	value, closer, err := s.db.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return r, store.ErrNotFound
	case err == nil:
		if err = readRecord(key, value, &r); err != nil {
			leftOf(value, &r)
		}
		r.State = bytes.Clone(r.State)
		err = errors.Join(err, closer.Close())
	}
	if err == nil {
		err = s.checkID(&r)
	}
	if err == nil {
		return r, nil
	}
	if err = readError("read a record", err); !errors.Is(err, store.ErrCorrupt) {
		return store.Record{}, err
	}
	return r, errors.Join(err, s.settleDamage(&r))
}

// leftOf reads what a damaged value says.
func leftOf(value []byte, r *store.Record) {
	if len(value) >= valueHeader+recordFields {
		decodeRecord(value[valueHeader:], r)
	}
}

// checkID makes sure that a sound record is found by its id.
func (s *Store) checkID(r *store.Record) error {
	key := appendIDKey(nil, r.ID)
	addr, err := s.getAddress(key)
	if errors.Is(err, store.ErrNotFound) || err == nil && addr != r.Address {
		return corruptf(key, "it does not lead to its record")
	}
	return err
}

// settleDamage marks a record as damaged. Which incarnation it is of, the ids say: that
// which the record names, if its entry does not contradict, or else the one whose entry
// leads to the address.
func (s *Store) settleDamage(r *store.Record) (err error) {
	r.Damaged = true
	if r.Revision == 0 {
		r.Revision = store.UnknownRevision
	}
	addr, err := s.getAddress(appendIDKey(nil, r.ID))
	if err == nil && addr == r.Address {
		return nil
	}
	likely := store.ID{}
	if errors.Is(err, store.ErrCorrupt) {
		likely = r.ID
	}
	r.ID = likely
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagID}, UpperBound: []byte{tagID + 1}})
	if err != nil {
		return readError("look for an id", err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	at := appendRecordKey(nil, r.Address)
	for ok := iter.First(); ok; ok = iter.Next() {
		if value, err := iter.ValueAndErr(); err == nil {
			if body, err := unseal(iter.Key(), value); err == nil && bytes.Equal(body, at) {
				copy(r.ID[:], iter.Key()[1:])
				return nil
			}
		}
	}
	return nil
}

// checkMendLocked says whether w may take the place of a record that may be damaged.
func (s *Store) checkMendLocked(w *store.Write) error {
	r, err := s.salvage(w.Record.Address)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.ErrConflict
	case err != nil && !errors.Is(err, store.ErrCorrupt):
		return err
	case r.Revision != w.Expect, r.ID != w.Record.ID && !r.ID.IsZero():
		return store.ErrConflict
	}
	return nil
}
