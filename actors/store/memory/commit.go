// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

const (
	maxKeyPart = 16 << 10 // bytes of each part of an address
	maxRowKey  = 1280     // bytes of a row's key: see store.Row
)

// pending holds the outcome back until Wait, so that a caller who looks earlier
// finds nothing.
type pending struct {
	writes []*store.Write
	errs   []error
}

// Wait implements [store.Pending].
func (p pending) Wait() {
	for i, w := range p.writes {
		w.Err = p.errs[i]
	}
}

// Commit implements [store.Store].
func (s *Store) Commit(_ context.Context, writes []*store.Write) store.Pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := pending{writes: writes, errs: make([]error, len(writes))}
	for i, w := range writes {
		p.errs[i] = s.writeLocked(w)
	}
	return p
}

func (s *Store) writeLocked(w *store.Write) error {
	if s.closed {
		return errClosed
	}
	if err := valid(w); err != nil {
		return err
	}
	addr := w.Record.Address
	a := s.actors[addr]
	switch {
	case w.Op == store.OpCreate:
		if a != nil {
			return store.ErrExists
		}
		a = &actor{rows: make(map[store.Kind]rows)}
		s.actors[addr] = a
		s.ids[w.Record.ID] = a
		i, _ := slices.BinarySearchFunc(s.order, addr, compareAddresses)
		s.order = slices.Insert(s.order, i, addr)
	case a == nil, a.record.ID != w.Record.ID, a.record.Revision != w.Expect:
		return store.ErrConflict
	case a.record.Damaged && !w.Mend:
		return store.ErrCorrupt
	}
	if w.Op == store.OpDestroy {
		s.destroyLocked(a)
		return nil
	}
	a.record = w.Record
	a.record.Damaged = false
	a.record.State = slices.Clone(w.Record.State)
	a.record.StateBytes = len(w.Record.State)
	a.record.CreatedAt = storedTime(w.Record.CreatedAt, time.Millisecond)
	for _, row := range w.Rows {
		s.writeRowLocked(a, row)
	}
	return nil
}

func valid(w *store.Write) error {
	r := &w.Record
	if w.Op > store.OpDestroy {
		return fmt.Errorf("memory store: write with unknown op %d", w.Op)
	}
	if len(r.Namespace) > maxKeyPart || len(r.Type) > maxKeyPart || len(r.Key) > maxKeyPart {
		return fmt.Errorf("memory store: a part of the address is longer than %d bytes", maxKeyPart)
	}
	for _, row := range w.Rows {
		if row.Kind == 0 || row.Kind == 0xff {
			return fmt.Errorf("memory store: row of unknown kind %d", row.Kind)
		}
		if row.Op > store.RowDeleteRange {
			return fmt.Errorf("memory store: row write with unknown op %d", row.Op)
		}
		if len(row.Key) > maxRowKey {
			return fmt.Errorf("memory store: a row's key has %d bytes, the limit is %d", len(row.Key), maxRowKey)
		}
	}
	return nil
}

func (s *Store) writeRowLocked(a *actor, w store.RowWrite) {
	id, list := a.record.ID, a.rows[w.Kind]
	i, found := list.find(w.Key)
	switch w.Op {
	case store.RowPut:
		row := cloneRow(w.Row)
		row.Due = storedTime(row.Due, time.Microsecond)
		if found {
			s.due.remove(id, w.Kind, list[i])
			list[i] = row
		} else {
			list = slices.Insert(list, i, row)
		}
		s.due.add(id, w.Kind, row)
	case store.RowDelete:
		if found {
			s.due.remove(id, w.Kind, list[i])
			list = slices.Delete(list, i, i+1)
		}
	case store.RowDeleteRange:
		i, j := list.between(w.Key, w.End)
		for _, row := range list[i:j] {
			s.due.remove(id, w.Kind, row)
		}
		list = slices.Delete(list, i, j)
	}
	a.rows[w.Kind] = list
}

func (s *Store) destroyLocked(a *actor) {
	for kind, list := range a.rows {
		for _, row := range list {
			s.due.remove(a.record.ID, kind, row)
		}
	}
	addr := a.record.Address
	delete(s.actors, addr)
	delete(s.ids, a.record.ID)
	i, _ := slices.BinarySearchFunc(s.order, addr, compareAddresses)
	s.order = slices.Delete(s.order, i, i+1)
}
