// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"

	"github.com/troupe-dev/troupe/actors/store"
)

// Verify reads everything that is stored and returns what is wrong with it, joined:
// values that are damaged, records that their id does not lead to, ids that lead to
// no record, and rows without an actor. It may run beside other methods and reads as
// of one moment.
func (s *Store) Verify(ctx context.Context) (err error) {
	snapshot := s.db.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	iter, err := snapshot.NewIterWithContext(ctx, nil)
	if err != nil {
		return readError("verify the store", err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	v := verifier{addresses: make(map[store.ID]store.Address)}
	// The tags sort so that records come before ids and ids before rows.
	for ok := iter.First(); ok && ctx.Err() == nil; ok = iter.Next() {
		value, err := iter.ValueAndErr()
		if err != nil {
			return errors.Join(append(v.faults, readError("verify the store", err))...)
		}
		if err := v.check(iter.Key(), value); err != nil {
			v.faults = append(v.faults, err)
		}
	}
	for id, addr := range v.addresses {
		v.faults = append(v.faults, corruptf(appendIDKey(nil, id), "the id of the record %q is missing", addr))
	}
	return errors.Join(append(v.faults, iter.Error(), ctx.Err())...)
}

// verifier is what has been read so far.
type verifier struct {
	addresses map[store.ID]store.Address // of records whose id has not been met
	actors    map[store.ID]bool
	faults    []error
}

func (v *verifier) check(key, value []byte) error {
	switch key[0] {
	case tagRecord:
		var r store.Record
		if err := readRecord(key, value, &r); err != nil {
			return err
		}
		addr, ok := parseRecordKey(key)
		if !ok {
			return corruptf(key, "no address")
		}
		v.addresses[r.ID] = addr
	case tagID:
		body, err := unseal(key, value)
		if err != nil {
			return err
		}
		var id store.ID
		copy(id[:], key[1:])
		if addr, ok := parseRecordKey(body); !ok || v.addresses[id] != addr {
			return corruptf(key, "it leads to no record")
		}
		delete(v.addresses, id)
		if v.actors == nil {
			v.actors = make(map[store.ID]bool)
		}
		v.actors[id] = true
	case tagRow:
		if _, err := readRow(key, value); err != nil {
			return err
		}
		var id store.ID
		copy(id[:], key[1:])
		if !v.actors[id] {
			return corruptf(key, "a row without an actor")
		}
	case tagMeta:
		_, err := decodeMeta(value)
		return err
	case tagDue: // places that lead to no row are normal: see Due
	default:
		return corruptf(key, "a key that means nothing")
	}
	return nil
}
