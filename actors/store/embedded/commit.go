// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

const (
	// maxKeyPart bounds namespace, type and key of an actor, in bytes.
	maxKeyPart = 16 << 10

	// maxRowKey bounds the key of a row, in bytes: see store.Row.
	maxRowKey = 1280

	// maxSingleDeletes is up to how many rows a range is deleted one by one.
	// The engine has to arrange all range deletions of a memtable anew after
	// each one, at every reader's expense, so that they are kept for ranges
	// that are worth it.
	maxSingleDeletes = 64
)

// pending is a batch on its way to the disk.
type pending struct {
	store  *Store
	writes []*store.Write
	batch  *pebble.Batch // nil if there is nothing to wait for
	number uint64        // of the batch in the log
}

// Commit implements [store.Store]. The batch is one record of the engine's log:
// the whole of it survives a crash, or nothing.
func (s *Store) Commit(_ context.Context, writes []*store.Write) store.Pending {
	p := &pending{store: s, writes: writes}
	if len(writes) == 0 {
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()

	if err := s.failed(); err != nil {
		for _, w := range writes {
			w.Err = err
		}
		return p
	}
	forEnd, forElse := s.room()
	if forEnd != nil {
		for _, w := range writes {
			w.Err = forEnd
		}
		return p
	}
	// A batch whose every write is refused is stored too: what they were refused
	// for may itself be on its way to the disk, so there is something to wait for.
	batch := s.newBatchLocked()
	p.number = s.logged
	for _, w := range writes {
		if w.Err = forElse; w.Err == nil || w.Op == store.OpDestroy {
			w.Err = s.checkLocked(w)
		}
		if w.Err == nil {
			s.addLocked(batch, w)
		} else if seedbug.On(23) {
			forElse = w.Err
		}
	}
	if err := s.apply(batch, pebble.Sync); err != nil {
		s.fail(err)
		for _, w := range writes {
			if w.Err == nil {
				w.Err = unknown(err)
			}
		}
		return p
	}
	for _, d := range s.dues {
		s.marks.lower(d)
	}
	s.dues = s.dues[:0]
	p.batch = batch
	return p
}

// apply makes the batch visible and hands it to the log writer; with pebble.Sync,
// batch.SyncWait must follow. The engine panics when its log has failed before.
func (s *Store) apply(batch *pebble.Batch, opts *pebble.WriteOptions) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("apply the batch: %v", p)
		}
	}()
	if opts.Sync {
		return s.db.ApplyNoSyncWait(batch, opts)
	}
	return s.db.Apply(batch, opts)
}

// Wait implements [store.Pending].
func (p *pending) Wait() {
	if p.batch == nil {
		return
	}
	if err := p.batch.SyncWait(); err != nil && !seedbug.On(14) {
		for _, w := range p.writes {
			if w.Err == nil {
				w.Err = unknown(err)
			}
		}
		p.store.fail(fmt.Errorf("sync the log: %w", err))
		return
	}
	p.store.syncedTo(p.number)
	p.store.watch(p.number)
	_ = p.batch.Close() // gives its memory back; fails only if called twice
	p.batch = nil
}

func unknown(err error) error { return fmt.Errorf("%w: %w", store.ErrUnknown, err) }

// checkLocked says whether w may be stored.
func (s *Store) checkLocked(w *store.Write) error {
	if err := valid(w); err != nil {
		return err
	}
	r := &w.Record
	if w.Op != store.OpCreate {
		if w.Mend {
			return s.checkMendLocked(w)
		}
		if revision, match, found := s.revisions.get(r.ID, r.Address); found {
			if !match || revision != w.Expect {
				return store.ErrConflict
			}
			return nil
		}
	}
	s.scratch = appendRecordKey(s.scratch[:0], r.Address)
	var stored store.Record
	found, err := s.getRecord(s.scratch, &stored, false)
	switch {
	case err != nil:
		return err
	case w.Op == store.OpCreate && found:
		return store.ErrExists
	case w.Op != store.OpCreate && (!found || stored.ID != r.ID || stored.Revision != w.Expect):
		return store.ErrConflict
	}
	return nil
}

// valid finds the faults that would damage the layout.
func valid(w *store.Write) error {
	r := &w.Record
	if w.Op > store.OpDestroy {
		return fmt.Errorf("embedded store: write with unknown op %d", w.Op)
	}
	if len(r.Namespace) > maxKeyPart || len(r.Type) > maxKeyPart || len(r.Key) > maxKeyPart {
		return fmt.Errorf("embedded store: a part of the address is longer than %d bytes", maxKeyPart)
	}
	for i := range w.Rows {
		row := &w.Rows[i]
		if row.Kind == 0 || row.Kind >= afterKinds {
			return fmt.Errorf("embedded store: row of unknown kind %d", row.Kind)
		}
		if row.Op > store.RowDeleteRange {
			return fmt.Errorf("embedded store: row write with unknown op %d", row.Op)
		}
		if len(row.Key) > maxRowKey {
			return fmt.Errorf("embedded store: a row's key has %d bytes, the limit is %d", len(row.Key), maxRowKey)
		}
	}
	return nil
}

// addLocked adds w, which has been checked, to the batch. It cannot fail.
func (s *Store) addLocked(batch *pebble.Batch, w *store.Write) {
	r := &w.Record
	if w.Op == store.OpDestroy {
		s.destroyLocked(batch, r)
		return
	}
	s.scratch = appendRecordKey(s.scratch[:0], r.Address)
	op := batch.SetDeferred(len(s.scratch), recordSize(r))
	copy(op.Key, s.scratch)
	putRecord(op.Key, op.Value, r)
	_ = op.Finish() // fails only for indexed batches, as below

	if w.Op == store.OpCreate || w.Mend {
		address := len(s.scratch)
		s.scratch = appendIDKey(s.scratch, r.ID)
		key := s.scratch[address:]
		op := batch.SetDeferred(len(key), valueHeader+address)
		copy(op.Key, key)
		copy(op.Value[valueHeader:], s.scratch[:address])
		seal(op.Key, op.Value)
		_ = op.Finish()
	}
	for i := range w.Rows {
		row := &w.Rows[i]
		switch row.Op {
		case store.RowPut:
			s.putRowLocked(batch, r.ID, row)
		case store.RowDelete:
			s.deleteRowLocked(batch, r.ID, row.Kind, row.Key)
		case store.RowDeleteRange:
			s.deleteRowsLocked(batch, r.ID, w.Rows[:i], row)
		}
	}
	s.revisions.put(r.ID, r.Address, r.Revision)
}

func (s *Store) putRowLocked(batch *pebble.Batch, id store.ID, row *store.RowWrite) {
	s.scratch = appendRowKey(s.scratch[:0], id, row.Kind, row.Key)
	op := batch.SetDeferred(len(s.scratch), rowSize(&row.Row))
	copy(op.Key, s.scratch)
	putRow(op.Key, op.Value, &row.Row)
	_ = op.Finish()
	if row.Due.IsZero() {
		return
	}
	place := duePlace{shard: id.Shard(), kind: row.Kind, at: micros(row.Due)}
	s.dues = append(s.dues, place)
	s.scratch = appendDueKey(s.scratch[:0], place.shard, place.kind, place.at, id, row.Key)
	op = batch.SetDeferred(len(s.scratch), 0)
	copy(op.Key, s.scratch)
	_ = op.Finish()
}

// deleteRowLocked leaves the row's place in the due index for a scan to find
// without a row and remove: reading the row first would cost every write more.
func (s *Store) deleteRowLocked(batch *pebble.Batch, id store.ID, kind store.Kind, key []byte) {
	s.scratch = appendRowKey(s.scratch[:0], id, kind, key)
	op := batch.DeleteDeferred(len(s.scratch))
	copy(op.Key, s.scratch)
	_ = op.Finish()
}

// deleteRowsLocked deletes the rows in [w.Key, w.End) that are stored or that the
// same Write has put before.
func (s *Store) deleteRowsLocked(batch *pebble.Batch, id store.ID, before []store.RowWrite, w *store.RowWrite) {
	from := appendRowKey(nil, id, w.Kind, w.Key)
	to := appendRowKey(nil, id, w.Kind, w.End)
	if w.End == nil {
		to = appendRowKey(nil, id, w.Kind+1, nil)
	}
	if string(from) >= string(to) {
		return
	}
	if len(before) > maxSingleDeletes {
		_ = batch.DeleteRange(from, to, nil) // never fails
		return
	}
	if !s.deleteStoredLocked(batch, from, to) {
		return
	}
	for i := range before {
		if b := &before[i]; b.Op == store.RowPut && b.Kind == w.Kind &&
			string(b.Key) >= string(w.Key) && (w.End == nil || string(b.Key) < string(w.End)) {
			s.deleteRowLocked(batch, id, b.Kind, b.Key)
		}
	}
}

// deleteStoredLocked deletes the stored keys in [from, to): one by one, and false is
// returned as soon as it was the whole range that was deleted.
func (s *Store) deleteStoredLocked(batch *pebble.Batch, from, to []byte) (single bool) {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		_ = batch.DeleteRange(from, to, nil)
		return false
	}
	n := 0
	for valid := iter.First(); valid && n <= maxSingleDeletes; valid = iter.Next() {
		if n++; n <= maxSingleDeletes {
			_ = batch.Delete(iter.Key(), nil) // never fails
		}
	}
	if errors.Join(iter.Error(), iter.Close()) != nil || n > maxSingleDeletes {
		_ = batch.DeleteRange(from, to, nil)
		return false
	}
	return true
}

// destroyLocked removes everything that the actor has, but not its places in the
// due index: see deleteRowLocked.
func (s *Store) destroyLocked(batch *pebble.Batch, r *store.Record) {
	s.scratch = appendRecordKey(s.scratch[:0], r.Address)
	_ = batch.Delete(s.scratch, nil) // never fails, as below
	s.scratch = appendIDKey(s.scratch[:0], r.ID)
	_ = batch.Delete(s.scratch, nil)
	last := store.Kind(afterKinds)
	if seedbug.On(17) {
		last = store.KindIdempotency
	}
	s.deleteStoredLocked(batch, appendRowKey(nil, r.ID, 0, nil), appendRowKey(nil, r.ID, last, nil))
	s.revisions.drop(r.ID)
}
