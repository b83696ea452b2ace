// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

// Rows are what an actor keeps besides its state: its key-value pairs, schedules,
// outgoing messages and idempotency records. A turn collects what it writes in an
// overlay of its own. When the turn settles, that becomes part of the instance's
// overlay, where it stays until it is durable: turns that run ahead of the disk see
// it there. What a turn reads is its own overlay over the instance's over the store.

// rowKey names a row of one actor.
type rowKey struct {
	kind store.Kind
	key  string
}

// overlay is rows that hide those of the store.
type overlay map[rowKey]overlaid

// overlaid is what one turn or more made of a row.
type overlaid struct {
	row     store.Row
	deleted bool
	entry   *entry // the newest part of a commit that holds it; nil while the turn runs
}

// putRow adds or replaces a row when the turn commits. The row's slices belong to
// the actor from now on.
func (t *turn) putRow(kind store.Kind, row store.Row) {
	t.setRow(kind, row, false)
	t.rowBytes += len(row.Key) + len(row.Value)
}

// deleteRow removes a row when the turn commits, if it is there.
func (t *turn) deleteRow(kind store.Kind, key []byte) {
	t.setRow(kind, store.Row{Key: key}, true)
	t.rowBytes += len(key)
}

func (t *turn) setRow(kind store.Kind, row store.Row, deleted bool) {
	if t.rows == nil {
		t.rows = make(overlay)
	}
	t.rows[rowKey{kind, string(row.Key)}] = overlaid{row: row, deleted: deleted}
}

// row reads one row as the turn sees it; ok says whether it is there. The row must
// not be changed.
func (t *turn) row(ctx context.Context, kind store.Kind, key []byte) (row store.Row, ok bool, err error) {
	name := rowKey{kind, string(key)}
	over, found := t.rows[name]
	if !found {
		i := t.inst
		i.mu.Lock()
		over, found = i.rows[name]
		i.mu.Unlock()
	}
	if found {
		return over.row, !over.deleted, nil
	}
	rows, err := t.fromStore(ctx, kind, store.Range{From: key, To: append(slices.Clip(key), 0), Limit: 1})
	if err != nil {
		return store.Row{}, false, err
	}
	if len(rows) == 0 {
		t.saw(kind, name.key, 0)
		return store.Row{}, false, nil
	}
	t.saw(kind, name.key, len(key)+len(rows[0].Value))
	return rows[0], true, nil
}

// scan reads rows in the order of their keys, or against it, as the turn sees them.
// They must not be changed.
func (t *turn) scan(ctx context.Context, kind store.Kind, r store.Range) ([]store.Row, error) {
	// First what is not durable: what becomes so meanwhile is in the store then.
	over := t.overlaid(kind, r)
	want := r.Limit
	if want > 0 {
		r.Limit += len(over) // each may hide a row
	}
	rows, err := t.fromStore(ctx, kind, r)
	if err != nil {
		return nil, err
	}
	if kind == store.KindOutbox { // to be removed, as a rule
		for n := range rows {
			t.saw(kind, string(rows[n].Key), len(rows[n].Key)+len(rows[n].Value))
		}
		for n := range over {
			delete(t.sizes, rowKey{kind, string(over[n].row.Key)}) // the store may have an older one
		}
	}
	if len(over) == 0 {
		return rows, nil
	}
	// The store may have had more; what lies beyond its last row is not known.
	cut := r.Limit > 0 && len(rows) == r.Limit
	merged := make([]store.Row, 0, len(rows)+len(over))
	for len(rows) > 0 || len(over) > 0 {
		order := -1 // rows first
		switch {
		case len(rows) == 0:
			order = 1
		case len(over) > 0:
			if order = bytes.Compare(rows[0].Key, over[0].row.Key); r.Reverse {
				order = -order
			}
		}
		if order < 0 {
			merged = append(merged, rows[0])
			rows = rows[1:]
			continue
		}
		if len(rows) == 0 && cut {
			break
		}
		if !over[0].deleted {
			merged = append(merged, over[0].row)
		}
		if order == 0 {
			rows = rows[1:]
		}
		over = over[1:]
	}
	if want > 0 && len(merged) > want {
		merged = merged[:want]
	}
	return merged, nil
}

// overlaid returns what hides rows of the store within a range, in its order.
func (t *turn) overlaid(kind store.Kind, r store.Range) []overlaid {
	var found []overlaid
	within := func(name rowKey) bool {
		return name.kind == kind && name.key >= string(r.From) && (r.To == nil || name.key < string(r.To))
	}
	for name, over := range t.rows {
		if within(name) {
			found = append(found, over)
		}
	}
	i := t.inst
	i.mu.Lock()
	for name, over := range i.rows {
		if _, mine := t.rows[name]; !mine && within(name) {
			found = append(found, over)
		}
	}
	i.mu.Unlock()
	slices.SortFunc(found, func(a, b overlaid) int {
		if r.Reverse {
			a, b = b, a
		}
		return bytes.Compare(a.row.Key, b.row.Key)
	})
	return found
}

func (t *turn) fromStore(ctx context.Context, kind store.Kind, r store.Range) ([]store.Row, error) {
	rows, err := t.inst.host.store.Scan(ctx, t.inst.id, kind, r)
	if err != nil {
		return nil, t.storeError(err)
	}
	return rows, nil
}

// storeError is the error of a turn whose rows could not be read.
func (t *turn) storeError(err error) error {
	if errors.Is(err, store.ErrCorrupt) {
		return t.corrupt(err)
	}
	return fmt.Errorf("read the actor's rows: %w", err)
}

// corrupt is the error of a turn that met stored rows which cannot be read.
func (t *turn) corrupt(err error) error {
	t.inst.logger().Error("an actor's stored rows are corrupt", slog.Any("error", err))
	return &refusalError{refusal(connect.CodeDataLoss, reasonDataLoss, notExecuted, "the actor's stored data is corrupt")}
}

// writes makes of an overlay what a store applies, in the order of the keys.
func (o overlay) writes() []store.RowWrite {
	if len(o) == 0 {
		return nil
	}
	writes := make([]store.RowWrite, 0, len(o))
	for name, over := range o {
		if seedbug.On(6) && name.kind == store.KindIdempotency {
			continue
		}
		write := store.RowWrite{Kind: name.kind, Op: store.RowPut, Row: over.row}
		if over.deleted {
			write.Op = store.RowDelete
		}
		writes = append(writes, write)
	}
	slices.SortFunc(writes, func(a, b store.RowWrite) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return bytes.Compare(a.Key, b.Key)
	})
	return writes
}

// coverLocked lays the rows of a turn that has settled, and that an entry holds, over
// those of the store.
func (i *instance) coverLocked(rows overlay, e *entry) {
	if i.rows == nil && len(rows) > 0 {
		i.rows = make(overlay, len(rows))
	}
	for name, over := range rows {
		over.entry = e
		i.rows[name] = over
	}
}

// uncoverLocked gives up what is durable.
func (i *instance) uncoverLocked(e *entry) {
	for name, over := range i.rows {
		if over.entry == e {
			delete(i.rows, name)
		}
	}
	if len(i.rows) == 0 {
		i.rows = nil
	}
}

// prefixEnd returns the first key after all that begin with prefix, nil if there is
// none.
func prefixEnd(prefix []byte) []byte {
	for n := len(prefix); n > 0; n-- {
		if prefix[n-1] != 0xff {
			end := bytes.Clone(prefix[:n])
			end[n-1]++
			return end
		}
	}
	return nil
}
