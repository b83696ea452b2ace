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

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, addr store.Address) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	key, done := s.key()
	defer done()
	*key = appendRecordKey((*key)[:0], addr)
	r := store.Record{Address: addr}
	found, err := s.getRecord(*key, &r, true)
	if err != nil {
		return store.Record{}, err
	}
	if !found {
		return store.Record{}, store.ErrNotFound
	}
	return r, nil
}

// LoadID implements [store.Store].
func (s *Store) LoadID(ctx context.Context, id store.ID) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	key, done := s.key()
	defer done()
	*key = appendIDKey((*key)[:0], id)
	addr, err := s.getAddress(*key)
	if err != nil {
		return store.Record{}, err
	}
	r, err := s.Load(ctx, addr)
	if err != nil {
		return store.Record{}, err
	}
	if r.ID != id { // destroyed and created anew since the first read
		return store.Record{}, store.ErrNotFound
	}
	return r, nil
}

// getAddress reads what stands at a key made by appendIDKey.
func (s *Store) getAddress(key []byte) (addr store.Address, err error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return addr, store.ErrNotFound
	}
	if err != nil {
		return addr, readError("read the address of an id", err)
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	body, err := unseal(key, value)
	if err != nil {
		return addr, readError("read the address of an id", err)
	}
	addr, ok := parseRecordKey(body)
	if !ok {
		return addr, readError("read the address of an id", corruptf(key, "no address"))
	}
	return addr, nil
}

// getRecord reads the record at a key made by appendRecordKey, except its Address.
// The State is left out unless withState.
func (s *Store) getRecord(key []byte, r *store.Record, withState bool) (found bool, err error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, readError("read a record", err)
	}
	err = readRecord(key, value, r)
	if withState {
		r.State = bytes.Clone(r.State)
	} else {
		r.State = nil
	}
	if err = errors.Join(err, closer.Close()); err != nil {
		return false, readError("read a record", err)
	}
	return true, nil
}

// key lends a buffer for a key; done takes it back.
func (s *Store) key() (key *[]byte, done func()) {
	key, ok := s.keys.Get().(*[]byte)
	if !ok {
		key = new([]byte)
	}
	return key, func() { s.keys.Put(key) }
}
