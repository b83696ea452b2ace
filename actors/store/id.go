// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
)

// ID names one incarnation of an actor. It begins with the shard, so that any
// node can route by id without a read; the other 112 bits are random.
type ID [16]byte

// idEncoding is base32 without padding, in lower case, so that ids are safe in
// URLs, header values and file names.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns a fresh id in the given shard.
func NewID(shard uint16) ID {
	var id ID
	binary.BigEndian.PutUint16(id[:2], shard)
	_, _ = rand.Read(id[2:]) // never fails: see crypto/rand
	return id
}

// ParseID is the inverse of [ID.String].
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != idEncoding.EncodedLen(len(id)) {
		return ID{}, fmt.Errorf("an actor id has %d characters, this one has %d", idEncoding.EncodedLen(len(id)), len(text))
	}
	if _, err := idEncoding.Decode(id[:], []byte(text)); err != nil {
		return ID{}, fmt.Errorf("not an actor id: %w", err)
	}
	if id.String() != text { // the last character has spare bits
		return ID{}, errors.New("not an actor id: its last character is not canonical")
	}
	return id, nil
}

// Shard is the shard that the actor belongs to.
func (id ID) Shard() uint16 { return binary.BigEndian.Uint16(id[:2]) }

// IsZero reports whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the 26-character text form of id.
func (id ID) String() string { return idEncoding.EncodeToString(id[:]) }
