// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

// maxRemovals is how many stale places are removed from the due index at once,
// while commits wait.
const maxRemovals = 32

// Due implements [store.Store]. A place in the index counts only if the row stands
// there with that very time. Those that do not are what rewritten and deleted rows
// have left behind; they are removed as they are found.
func (s *Store) Due(ctx context.Context, shard uint16, kind store.Kind, until time.Time, after *store.DueRow, limit int) ([]store.DueRow, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, nil
	}
	last := micros(until)
	scan := dueScan{store: s, shard: shard, kind: kind, limit: limit}
	if last == math.MaxInt64 {
		scan.to = appendDueTime(nil, shard, kind+1, math.MinInt64)
	} else {
		scan.to = appendDueTime(nil, shard, kind, last+1)
	}
	if after != nil {
		from := appendDueKey(nil, shard, kind, micros(after.Due), after.ID, after.Key)
		scan.from = append(from, 0)
		err := scan.run(ctx)
		return scan.found, errors.Join(err, s.removeStale(scan.stale))
	}

	mark, low := s.marks.begin(shard, kind)
	scan.from = appendDueTime(nil, shard, kind, low)
	err := scan.run(ctx)
	if err == nil {
		err = s.removeStale(scan.stale)
	}
	switch {
	case err != nil:
		s.marks.end(mark, math.MinInt64)
		return nil, err
	case len(scan.found) > 0:
		s.marks.end(mark, micros(scan.found[0].Due))
	case last < math.MaxInt64:
		s.marks.end(mark, last+1)
	default:
		s.marks.end(mark, last)
	}
	return scan.found, nil
}

// DueShards implements [store.Store]. It steps from shard to shard and looks at the
// first place of each, stale or not.
func (s *Store) DueShards(ctx context.Context, kind store.Kind) (found []store.DueShard, err error) {
	iter, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: appendDueTime(nil, 0, kind, math.MinInt64),
		UpperBound: []byte{tagDue + 1},
	})
	if err != nil {
		return nil, readError("scan the due index", err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for ok := iter.First(); ok; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		key := iter.Key()
		due, id, _, parsed := parseDueKey(key)
		if !parsed {
			return nil, readError("scan the due index", corruptf(key, "no place"))
		}
		shard, here := int(id.Shard()), store.Kind(key[dueOffset-1])
		switch {
		case here < kind:
			shard-- // the kind is further on in this shard
		case here == kind:
			found = append(found, store.DueShard{Shard: id.Shard(), From: time.UnixMicro(due)})
		}
		if shard++; shard > math.MaxUint16 {
			break
		}
		ok = iter.SeekGE(appendDueTime(nil, uint16(shard), kind, math.MinInt64))
	}
	if err := iter.Error(); err != nil {
		return nil, readError("scan the due index", err)
	}
	return found, nil
}

// dueScan walks over one stretch of the due index.
type dueScan struct {
	store    *Store
	shard    uint16
	kind     store.Kind
	from, to []byte
	limit    int

	found []store.DueRow
	stale [][]byte
}

func (d *dueScan) run(ctx context.Context) (err error) {
	if string(d.from) >= string(d.to) {
		return nil
	}
	// Index and rows are read as of one moment. Otherwise a row that moves
	// during the scan might be seen at neither place.
	snapshot := d.store.db.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	iter, err := snapshot.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: d.from, UpperBound: d.to})
	if err != nil {
		return readError("scan the due index", err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	rowKey, done := d.store.key()
	defer done()
	for ok := iter.First(); ok && len(d.found) < d.limit; ok = iter.Next() {
		due, id, key, parsed := parseDueKey(iter.Key())
		if !parsed {
			return readError("scan the due index", corruptf(iter.Key(), "no place"))
		}
		*rowKey = appendRowKey((*rowKey)[:0], id, d.kind, key)
		row, live, err := getDueRow(snapshot, *rowKey, due)
		if err != nil {
			return readError("read a due row", err)
		}
		if live {
			row.ID = id
			d.found = append(d.found, row)
		} else {
			d.stale = append(d.stale, append([]byte(nil), iter.Key()...))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := iter.Error(); err != nil {
		return readError("scan the due index", err)
	}
	return nil
}

// getDueRow reads the row at key and reports whether it is there and due at due. One
// that is damaged is, as far as anybody can tell.
func getDueRow(r pebble.Reader, key []byte, due int64) (row store.DueRow, live bool, err error) {
	value, closer, err := r.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return row, false, nil
	case pebble.IsCorruptionError(err):
		return damagedRow(key, due), true, nil
	case err != nil:
		return row, false, err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	stored, err := readRow(key, value)
	switch {
	case err != nil:
		return damagedRow(key, due), true, nil
	case !stored.isDue || stored.due != due:
		return row, false, nil
	}
	row.Row = stored.row(key[rowOffset:])
	return row, true, nil
}

func damagedRow(key []byte, due int64) store.DueRow {
	return store.DueRow{Damaged: true, Row: store.Row{Key: slices.Clone(key[rowOffset:]), Due: time.UnixMicro(due).UTC()}}
}

// Expire implements [store.Store]. Nothing waits for the disk: a row that comes back
// after a crash is due again. It makes room, so it goes on as long as an actor may end.
func (s *Store) Expire(ctx context.Context, shard uint16, kind store.Kind, until time.Time, limit int) (n int, err error) {
	rows, err := s.Due(ctx, shard, kind, until, nil, limit)
	if err != nil {
		return 0, err
	}
	for batch := range slices.Chunk(rows, maxRemovals) {
		if over, err := s.expireSome(kind, batch); err != nil || !over {
			return n, err
		}
		n += len(batch)
	}
	return n, nil
}

// expireSome removes rows that stand where they were found, with their places. It is
// false if nothing can be removed now.
func (s *Store) expireSome(kind store.Kind, rows []store.DueRow) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if full, _ := s.room(); full != nil || s.failed() != nil {
		return false, nil
	}
	var over [][]byte
	for _, row := range rows {
		due := micros(row.Due)
		s.scratch = appendRowKey(s.scratch[:0], row.ID, kind, row.Key)
		_, live, err := getDueRow(s.db, s.scratch, due)
		if err != nil {
			return false, readError("read a due row", err)
		}
		if live {
			over = append(over, slices.Clone(s.scratch), appendDueKey(nil, row.ID.Shard(), kind, due, row.ID, row.Key))
		}
	}
	return true, s.removeLocked("remove rows that are over", over)
}

// removeLocked removes keys, for what the error says.
func (s *Store) removeLocked(what string, keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	batch := s.newBatchLocked()
	for _, key := range keys {
		_ = batch.Delete(key, nil) // never fails
	}
	if err := s.apply(batch, pebble.NoSync); err != nil {
		s.fail(err)
		return readError(what, err)
	}
	return batch.Close()
}

// removeStale removes places of the due index that led to no row, unless they do by
// now. Nothing waits for the disk: a place that comes back after a crash is stale
// again.
func (s *Store) removeStale(places [][]byte) error {
	for len(places) > 0 {
		n := min(len(places), maxRemovals)
		if err := s.removeSome(places[:n]); err != nil {
			return err
		}
		places = places[n:]
	}
	return nil
}

func (s *Store) removeSome(places [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, full := s.room(); full != nil || s.failed() != nil {
		return nil // reads go on
	}
	var dead [][]byte
	for _, place := range places {
		due, id, key, _ := parseDueKey(place)
		s.scratch = appendRowKey(s.scratch[:0], id, store.Kind(place[dueOffset-1]), key)
		_, live, err := getDueRow(s.db, s.scratch, due)
		if err != nil {
			return readError("read a due row", err)
		}
		if !live {
			dead = append(dead, place)
		}
	}
	return s.removeLocked("clear the due index", dead)
}
