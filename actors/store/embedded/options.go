// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/troupe-dev/troupe/actors/store"
)

// Options are the settings of a store. The zero value is right for a server with
// a few hundred megabytes to spare.
type Options struct {
	// CacheBytes bounds the cache of blocks read from disk; 0 means 64 MiB.
	CacheBytes int64

	// MemtableBytes is the size of one table of recent writes in memory, of
	// which there are at most four; 0 means 32 MiB. A larger one makes fewer
	// and larger files and a slower reopening after a crash.
	MemtableBytes int64

	// Shards is the number of shards of a new store; 0 means
	// [store.DefaultShards]. For a store that exists, it must be 0 or the
	// number that the store was created with.
	Shards uint16

	// InlineValues keeps large values inside the sorted tables. By default a
	// value of 1 KiB and more is kept in a file beside them, which writes less
	// when large states are overwritten.
	InlineValues bool

	// MinFreeBytes is how much of the disk is kept free: below it a write is
	// refused with [store.ErrFull], a destroy below half of it, and reads go
	// on. It is what the engine needs to work off what it has accepted, which
	// it cannot do on a full disk: the process would end. 0 means 256 MiB; a
	// negative number keeps nothing free.
	MinFreeBytes int64

	// Logger receives what the storage engine reports; nil discards it.
	Logger *slog.Logger

	// Fatal is called, at most once, when the disk refused to keep what the
	// store had accepted: nothing can be made durable from there on, so the
	// process must end and open the store again. It should not return. Nil
	// ends the process with status 1. If the disk fails while the engine closes a
	// full log, the engine panics instead, which nothing can recover from.
	Fatal func(error)

	// FS replaces the file system, for tests; nil means the real one.
	FS vfs.FS
}

func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	if o.MemtableBytes == 0 {
		o.MemtableBytes = 32 << 20
	}
	if o.MinFreeBytes == 0 {
		o.MinFreeBytes = 256 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = privateFS{vfs.Default}
	}
	return o
}

// newShards is the number of shards that a new store gets.
func (o Options) newShards() uint16 {
	if o.Shards == 0 {
		return store.DefaultShards
	}
	return o.Shards
}
