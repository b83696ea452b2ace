// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"bytes"
	"context"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

// KV is the actor's own key-value store: for what is too large or too much to be
// in the state. Keys are ordered bytewise. Only this actor sees it.
//
// What a turn writes is part of the turn: the turn reads its own writes, they are
// stored with its commit, and a turn that fails has written nothing. A read-only
// action may read and not write.
//
// A key has at most 1 KiB and is not empty, a value at most 256 KiB, and one turn
// changes at most 1,000 keys; beyond that the writing methods return an error with
// the code invalid_argument and change nothing, and the turn goes on. One turn
// writes at most 4 MiB in all; a turn that wrote more fails at its end with
// resource_exhausted. [RowLimits] sets other bounds.
type KV struct{ body *body }

// Pair is a key and its value.
type Pair struct{ Key, Value []byte }

// Range selects pairs of a [KV]. The zero Range selects all of them.
type Range struct {
	// Prefix is what the keys begin with.
	Prefix []byte
	// From is the first key that is selected, To the first one that is not,
	// whole keys both; nil is no bound.
	From, To []byte
	// Limit bounds the number of pairs; 0 means no bound.
	Limit int
	// Reverse begins with the last key.
	Reverse bool
}

// KV returns the actor's key-value store.
func (a *Actor[State, Event]) KV() KV { return KV{a.body} }

// Get returns the value of key, and whether there is one. The context is the
// turn's.
func (kv KV) Get(ctx context.Context, key []byte) (value []byte, found bool, err error) {
	row, found, err := kv.body.reading(ctx, "KV.Get").row(ctx, store.KindKV, key)
	if err != nil || !found {
		return nil, false, err
	}
	return bytes.Clone(row.Value), true, nil
}

// GetBatch returns the values of keys, in their order; nil where there is none.
func (kv KV) GetBatch(ctx context.Context, keys ...[]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for n, key := range keys {
		value, found, err := kv.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		if found && value == nil {
			value = []byte{}
		}
		values[n] = value
	}
	return values, nil
}

// List returns the pairs of a range in the order of their keys.
func (kv KV) List(ctx context.Context, r Range) ([]Pair, error) {
	from, to := r.From, r.To
	if bytes.Compare(r.Prefix, from) > 0 {
		from = r.Prefix
	}
	if end := prefixEnd(r.Prefix); end != nil && (to == nil || bytes.Compare(end, to) < 0) {
		to = end
	}
	rows, err := kv.body.reading(ctx, "KV.List").scan(ctx, store.KindKV, store.Range{From: from, To: to, Limit: max(r.Limit, 0), Reverse: r.Reverse})
	if err != nil {
		return nil, err
	}
	pairs := make([]Pair, len(rows))
	for n, row := range rows {
		pairs[n] = Pair{bytes.Clone(row.Key), bytes.Clone(row.Value)}
	}
	return pairs, nil
}

// Put sets the value of key. It copies both.
func (kv KV) Put(key, value []byte) error { return kv.PutBatch(Pair{key, value}) }

// PutBatch sets the values of several keys, or returns an error and sets none.
func (kv KV) PutBatch(pairs ...Pair) error {
	t := kv.body.writing("KV.Put")
	keys := make([][]byte, len(pairs))
	for n, pair := range pairs {
		if limit := kv.body.inst.typ.limits.rows.KVValueBytes; len(pair.Value) > limit {
			return Errorf(connect.CodeInvalidArgument, "kv_value_too_large", "the value has %d bytes and may have %d", len(pair.Value), limit)
		}
		keys[n] = pair.Key
	}
	if err := t.countKV(keys); err != nil {
		return err
	}
	for _, pair := range pairs {
		t.putRow(store.KindKV, store.Row{Key: bytes.Clone(pair.Key), Value: bytes.Clone(pair.Value)})
	}
	return nil
}

// Delete removes keys; those that are absent are no error.
func (kv KV) Delete(keys ...[]byte) error {
	t := kv.body.writing("KV.Delete")
	if err := t.countKV(keys); err != nil {
		return err
	}
	for _, key := range keys {
		t.deleteRow(store.KindKV, bytes.Clone(key))
	}
	return nil
}

// countKV checks the keys that a turn is about to change.
func (t *turn) countKV(keys [][]byte) error {
	limits := &t.inst.typ.limits.rows
	fresh := 0
	var counted map[string]bool // of those that are fresh; a single key needs none
	if len(keys) > 1 {
		counted = make(map[string]bool, len(keys))
	}
	for _, key := range keys {
		if len(key) == 0 || len(key) > limits.KVKeyBytes {
			return Errorf(connect.CodeInvalidArgument, "bad_kv_key", "a key has 1 to %d bytes, and this one has %d", limits.KVKeyBytes, len(key))
		}
		if _, known := t.rows[rowKey{store.KindKV, string(key)}]; !known && !counted[string(key)] {
			fresh++
			if counted != nil {
				counted[string(key)] = true
			}
		}
	}
	if int(t.kvKeys)+fresh > limits.KVKeysPerTurn {
		return Errorf(connect.CodeInvalidArgument, "too_many_kv_keys", "a turn changes at most %d keys", limits.KVKeysPerTurn)
	}
	t.kvKeys += int32(fresh)
	return nil
}
