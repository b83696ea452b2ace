// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package store

import "errors"

var (
	// ErrNotFound is returned when no actor has the address or id.
	ErrNotFound = errors.New("store: actor not found")

	// ErrExists is a Write's Err when OpCreate finds its address taken.
	ErrExists = errors.New("store: address is taken")

	// ErrConflict is a Write's Err when the stored record is not the one that
	// the Write expected. Nothing of the Write was stored.
	ErrConflict = errors.New("store: the stored record is not the expected one")

	// ErrUnknown is a Write's Err when the driver cannot say whether the
	// Write is or will be durable.
	ErrUnknown = errors.New("store: the outcome of the commit is unknown")

	// ErrFenced is a Write's Err, or a read's, when this node may not use the
	// store any more: another has taken its place. Nothing of the Write was
	// stored, and nothing will be.
	ErrFenced = errors.New("store: this node has lost the right to use the store")

	// ErrFull is a Write's Err when the driver has no room for it. Nothing of
	// the Write was stored; it may be tried again once there is room.
	ErrFull = errors.New("store: no room is left")

	// ErrUnavailable is a read's error when what keeps the actors does not
	// answer now. It may be asked again.
	ErrUnavailable = errors.New("store: it does not answer")

	// ErrCorrupt is returned when stored bytes fail their checksum or cannot
	// be decoded. They are never served, and never written over but by a Write that
	// says so: see Write.Mend.
	ErrCorrupt = errors.New("store: stored data is corrupt")

	// ErrLocked is returned when another process has the store open.
	ErrLocked = errors.New("store: another process has this store open")

	// ErrFormat is returned when the stored layout, shard count or hash is
	// one that this program does not serve.
	ErrFormat = errors.New("store: the stored format does not fit this program")
)
