// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

const (
	// layoutVersion is the version of the keys and values in this package.
	layoutVersion = 2

	// hashName names the hash of store.ShardOf.
	hashName = "fnv1a64"

	// engineVersion is Pebble's own format. It is pinned so that a store is
	// never rewritten just because the library was updated.
	engineVersion = pebble.FormatValueSeparation
)

// meta is what a store is, written when it is created.
type meta struct {
	layout     uint32
	generation uint64
	shards     uint16
	hash       string
}

func newMeta(shards uint16) meta {
	return meta{layout: layoutVersion, shards: shards, hash: hashName, generation: newGeneration()}
}

// newGeneration returns a number that no other store has, nor this one before.
func newGeneration() (generation uint64) {
	for generation == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails: see crypto/rand
		generation = binary.BigEndian.Uint64(b[:])
	}
	return generation
}

func metaKey() []byte { return []byte{tagMeta} }

func (m meta) encode() []byte {
	b := make([]byte, valueHeader, 64)
	b = binary.BigEndian.AppendUint32(b, m.layout)
	b = binary.BigEndian.AppendUint64(b, m.generation)
	b = binary.BigEndian.AppendUint16(b, m.shards)
	b = append(b, m.hash...)
	seal(metaKey(), b)
	return b
}

func decodeMeta(value []byte) (m meta, err error) {
	b, err := unseal(metaKey(), value)
	if err != nil {
		return m, err
	}
	if len(b) < 14 {
		return m, corruptf(metaKey(), "description of %d bytes", len(b))
	}
	m.layout = binary.BigEndian.Uint32(b)
	m.generation = binary.BigEndian.Uint64(b[4:])
	m.shards = binary.BigEndian.Uint16(b[12:])
	m.hash = string(b[14:])
	return m, nil
}

// fits returns an error that says what to do if this program cannot serve m.
func (m meta) fits(wantShards uint16) error {
	switch {
	case m.layout != layoutVersion:
		return fmt.Errorf("%w: its layout has version %d and this program serves %d; run the version of Troupe that wrote it",
			store.ErrFormat, m.layout, layoutVersion)
	case m.hash != hashName:
		return fmt.Errorf("%w: its actors are placed by the hash %q and this program uses %q; run the program that wrote it",
			store.ErrFormat, m.hash, hashName)
	case m.shards == 0:
		return fmt.Errorf("%w: it has no shards; restore it from a backup", store.ErrFormat)
	case wantShards != 0 && wantShards != m.shards:
		return fmt.Errorf("%w: it was created with %d shards and the settings ask for %d; leave the number unset: it cannot be changed",
			store.ErrFormat, m.shards, wantShards)
	}
	return nil
}

// openMeta reads what the store in db is, and writes it if db is new.
func openMeta(db *pebble.DB, opts Options) (meta, error) {
	value, closer, err := db.Get(metaKey())
	switch {
	case err == nil:
		m, err := decodeMeta(value)
		return m, errors.Join(err, closer.Close())
	case !errors.Is(err, pebble.ErrNotFound):
		return meta{}, readError("read what the store is", err)
	}
	empty, err := isEmpty(db)
	if err != nil {
		return meta{}, readError("look into the store", err)
	}
	if !empty {
		return meta{}, fmt.Errorf("%w: the directory holds a database that Troupe did not write; give the store a directory of its own", store.ErrFormat)
	}
	m := newMeta(opts.newShards())
	if err := db.Set(metaKey(), m.encode(), pebble.Sync); err != nil {
		return meta{}, readError("write what the store is", err)
	}
	// The engine begins the log of a new database in its oldest format, in which
	// damage cannot be told from the end of the log. A flush begins another one.
	if err := db.Flush(); err != nil {
		return meta{}, readError("begin a new log", err)
	}
	return m, nil
}

func isEmpty(db *pebble.DB) (bool, error) {
	iter, err := db.NewIter(nil)
	if err != nil {
		return false, err
	}
	found := iter.First()
	return !found, errors.Join(iter.Error(), iter.Close())
}
