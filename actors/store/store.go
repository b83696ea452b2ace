// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package store is the seam between the runtime and what keeps its actors.
//
// It holds values and one small interface. A driver imports this package and its
// own database library, nothing else of Troupe; package storetest holds the suite
// that every driver passes.
//
// An actor is one [Record], found by its [Address] or by its [ID], and any number
// of [Row] values that belong to it: its key-value pairs, schedules, events,
// outgoing messages and idempotency records. A [Write] changes the record and the
// rows of one actor together or not at all.
package store

import (
	"context"
	"math"
	"time"
)

// Store keeps actors. All methods may be called concurrently. A driver never
// keeps a slice that it was given beyond the call (beyond Pending.Wait for
// Commit), and gives out slices that it will not touch again.
type Store interface { //nolint:interfacebloat // what every driver must do, and no part of it is of use alone
	// Load returns the record at addr, or [ErrNotFound].
	// It sees every Write whose Commit call has returned, durable or not.
	Load(ctx context.Context, addr Address) (Record, error)

	// LoadID returns the record of the incarnation id, or [ErrNotFound].
	// It sees what Load sees.
	LoadID(ctx context.Context, id ID) (Record, error)

	// Salvage is Load at addr or, if id is not zero, LoadID of id. Where that gives
	// [ErrCorrupt], it returns what is left of the record as well, and the error says
	// what is damaged: see Record.Damaged. It may take as long as reading every id of
	// the store.
	Salvage(ctx context.Context, addr Address, id ID) (Record, error)

	// Commit begins a batch. Each Write is atomic by itself, and one that
	// fails leaves its neighbours alone. The writes of one actor take effect
	// in the order of the Commit calls, whatever the order of the Waits; a
	// batch names an actor at most once. A caller may begin the next batch
	// before it has waited for this one.
	//
	// Commit returns as soon as the batch has its place in that order. Nothing
	// in it may be reported to anyone before Wait has returned. Commit does not
	// observe ctx's cancellation once the batch has begun.
	Commit(ctx context.Context, batch []*Write) Pending

	// Scan returns the rows of one kind of one actor, in order of key within
	// the range, at most r.Limit of them. It sees what Load sees.
	Scan(ctx context.Context, id ID, kind Kind, r Range) ([]Row, error)

	// Due returns rows of one kind whose Due time is not after until, in order
	// of (Due, ID, Key), beginning after the cursor (nil is the beginning), at
	// most limit of them, out of the given shard. It sees what Load sees.
	Due(ctx context.Context, shard uint16, kind Kind, until time.Time, after *DueRow, limit int) ([]DueRow, error)

	// DueShards returns the shards that may have rows of one kind in their due
	// index, in order, each with a time before which none of them is due. It sees
	// what Load sees. It costs what those shards cost, however many rows they have.
	DueShards(ctx context.Context, kind Kind) ([]DueShard, error)

	// Expire removes rows of one kind whose Due time is not after until, at most
	// limit of them, out of the given shard, and returns how many. It neither
	// looks at nor changes the revision of their actors: it is for rows that
	// nobody reads any more once they are due. It is not durable by itself.
	Expire(ctx context.Context, shard uint16, kind Kind, until time.Time, limit int) (int, error)

	// List returns records without their state, in order of namespace, type
	// and key, at most q.Limit of them. One that is found damaged is among them: see
	// Record.Damaged.
	List(ctx context.Context, q ListQuery) ([]Record, error)

	// Info describes the store. It does not change while the store is open.
	Info() Info

	// Close waits for what has begun, makes it durable and releases the store.
	// No other method may be called during or after it.
	Close() error
}

// Compacter is a [Store] that can make its files forget.
type Compacter interface {
	// Compact rewrites what the store keeps so that, when it returns, no value
	// that was deleted or replaced before the call is left in the store's files.
	// It may take as long as reading and writing the whole store, other methods
	// may be called meanwhile, and it ends early with ctx.
	Compact(ctx context.Context) error
}

// Pending is a batch that has begun.
type Pending interface {
	// Wait blocks until the fate of every Write of the batch is known and its
	// Err is set: nil once the Write is durable. Wait must be called exactly
	// once.
	Wait()
}

// Info describes a store.
type Info struct {
	// Format is the version of the driver's layout on disk.
	Format int
	// Generation changes when a store is restored from a backup, in the way that
	// its driver describes.
	Generation uint64
	// Shards is the number of shards, fixed when the store was created.
	Shards uint16
}

// Address names an actor by its key.
type Address struct {
	// Namespace is the tenant.
	Namespace string
	// Type is the full name of the actor's service.
	Type string
	// Key is the canonical encoding of the key's segments: see package wire.
	// The empty string is the empty key.
	Key string
}

// Record is what an actor is, apart from its rows.
type Record struct {
	Address
	ID ID
	// Revision counts the turns committed by this incarnation; the creation
	// is the first.
	Revision uint64
	// StateVersion is the schema version of State.
	StateVersion uint32
	// Quarantined says that those who run the server want the actor not to run.
	Quarantined bool
	// State is the actor's encoded state.
	State []byte
	// StateBytes is len(State); List sets it though it leaves State nil.
	StateBytes int
	// EventHead is the number of the newest durable event, 0 before the first.
	EventHead uint64
	// CreatedAt is when this incarnation was created, to the millisecond.
	CreatedAt time.Time
	// Damaged says that the stored record fails its checksum, cannot be decoded or
	// cannot be found by its ID. Only Salvage and List give such a record. The
	// Address can be relied on, and so can the ID; that is zero if nothing tells
	// which incarnation it was. All else is what the stored bytes say, as far as
	// there are any; the Revision is [UnknownRevision] if they say nothing of it.
	Damaged bool
}

// UnknownRevision is the Revision of a damaged record that does not say which it has.
const UnknownRevision uint64 = math.MaxUint64

// Write is one actor's part of a batch.
type Write struct {
	// Op says what becomes of the record.
	Op Op
	// Expect is the Revision that the stored record must have; 0 with
	// OpCreate, where the address must be free.
	Expect uint64
	// Mend says that OpUpdate or OpDestroy may find the stored record damaged, which
	// is [ErrCorrupt] without it. Expect is what Salvage has told of its revision, and
	// Record.ID its ID, or any new one if that is zero. OpUpdate then puts a sound
	// record in its place. What neither knows the ID of stays behind.
	Mend bool
	// Record is the whole new record. OpDestroy uses its Address and ID only.
	Record Record
	// Rows are applied in order. OpDestroy removes every row by itself.
	Rows []RowWrite
	// Err is set by the driver before Pending.Wait returns: nil,
	// [ErrExists], [ErrConflict], [ErrUnknown], [ErrFull], [ErrFenced] or a failure
	// that is known to have changed nothing.
	Err error
}

// Op says what a Write does to the record.
type Op uint8

const (
	// OpUpdate replaces the record; [ErrConflict] unless the stored one has
	// the same ID and the revision Expect.
	OpUpdate Op = iota
	// OpCreate adds the record; [ErrExists] if the address is taken.
	OpCreate
	// OpDestroy removes the record and every row of the actor and frees the
	// address; [ErrConflict] as for OpUpdate.
	OpDestroy
)

// Kind separates the rows of an actor by what they are for.
type Kind uint8

const (
	// KindKV is the actor's own key-value store.
	KindKV Kind = iota + 1
	// KindSchedule is what the actor will do later.
	KindSchedule
	// KindEvent is the durable event log, keyed by number.
	KindEvent
	// KindOutbox is messages on their way to other actors.
	KindOutbox
	// KindIdempotency is the replies kept for repeated requests.
	KindIdempotency
)

// Row is one row of an actor.
type Row struct {
	// Key orders the rows of one kind, bytewise. At most 1,280 bytes.
	Key []byte
	// Value is opaque to the driver.
	Value []byte
	// Due, unless zero, puts the row into its shard's due index, to the
	// microsecond.
	Due time.Time
}

// RowWrite changes rows of one kind.
type RowWrite struct {
	// Kind is the rows' kind.
	Kind Kind
	// Op says what to do.
	Op RowOp
	// Row is the row to put; RowDelete uses its Key, RowDeleteRange its Key
	// as the first one to delete.
	Row
	// End is the first key that RowDeleteRange spares; nil is the end of the
	// kind.
	End []byte
}

// RowOp says what a RowWrite does.
type RowOp uint8

const (
	// RowPut adds or replaces one row, and its place in the due index.
	RowPut RowOp = iota
	// RowDelete removes one row if it is there.
	RowDelete
	// RowDeleteRange removes the rows in [Key, End).
	RowDeleteRange
)

// Range selects rows by key.
type Range struct {
	// From is the first key, nil the beginning.
	From []byte
	// To is the first key past the range, nil the end.
	To []byte
	// Limit bounds the number of rows; 0 means no bound.
	Limit int
	// Reverse begins at the end of the range.
	Reverse bool
	// KeysOnly leaves out the Value and Due of the rows, and need not read
	// them.
	KeysOnly bool
}

// DueRow is a row found by the due index.
type DueRow struct {
	ID ID
	Row
	// Damaged says that the row fails its checksum or cannot be decoded: Scan gives
	// [ErrCorrupt] for it. It has no Value, and stands here so that it keeps no other
	// row from being found.
	Damaged bool
}

// DueShard says from when on rows of a shard may be due.
type DueShard struct {
	Shard uint16
	// From is the time of the first row, to the microsecond, or an earlier one.
	From time.Time
}

// ListQuery selects records.
type ListQuery struct {
	// Namespace is the tenant; required.
	Namespace string
	// Type selects one actor type; empty is every type.
	Type string
	// KeyPrefix selects keys that begin with it bytewise. Needs Type.
	KeyPrefix string
	// After is the last address of the page before; nil is the beginning.
	After *Address
	// Limit bounds the number of records; at least 1.
	Limit int
}
