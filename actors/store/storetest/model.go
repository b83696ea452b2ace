// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"pgregory.net/rapid"
)

// modelKinds are the kinds of rows that the model test uses.
var modelKinds = []store.Kind{store.KindKV, store.KindSchedule}

// model is a store made of two maps, which looks at everything for each question.
type model struct {
	actors map[store.Address]*modelActor
}

type modelActor struct {
	record store.Record
	rows   map[modelKey]store.Row
}

type modelKey struct {
	kind store.Kind
	key  string
}

func newModel() *model { return &model{actors: make(map[store.Address]*modelActor)} }

// write does what a store should and returns what it should.
func (m *model) write(w *store.Write) error {
	a := m.actors[w.Record.Address]
	switch {
	case w.Op == store.OpCreate && a != nil:
		return store.ErrExists
	case w.Op != store.OpCreate && (a == nil || a.record.ID != w.Record.ID || a.record.Revision != w.Expect):
		return store.ErrConflict
	case w.Op == store.OpDestroy:
		delete(m.actors, w.Record.Address)
		return nil
	case w.Op == store.OpCreate:
		a = &modelActor{rows: make(map[modelKey]store.Row)}
		m.actors[w.Record.Address] = a
	}
	a.record = w.Record
	for _, row := range w.Rows {
		switch row.Op {
		case store.RowPut:
			a.rows[modelKey{row.Kind, string(row.Key)}] = row.Row
		case store.RowDelete:
			delete(a.rows, modelKey{row.Kind, string(row.Key)})
		case store.RowDeleteRange:
			for k := range a.rows {
				if k.kind == row.Kind && k.key >= string(row.Key) && (row.End == nil || k.key < string(row.End)) {
					delete(a.rows, k)
				}
			}
		}
	}
	return nil
}

func (a *modelActor) scan(kind store.Kind, r store.Range) []store.Row {
	var rows []store.Row
	for k, row := range a.rows {
		if k.kind == kind && k.key >= string(r.From) && (r.To == nil || k.key < string(r.To)) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b store.Row) int { return bytes.Compare(a.Key, b.Key) })
	if r.Reverse {
		slices.Reverse(rows)
	}
	if r.Limit > 0 && len(rows) > r.Limit {
		rows = rows[:r.Limit]
	}
	return rows
}

func (m *model) due(shard uint16, kind store.Kind, until time.Time) []store.DueRow {
	var rows []store.DueRow
	for _, a := range m.actors {
		for k, row := range a.rows {
			if k.kind == kind && a.record.ID.Shard() == shard && !row.Due.IsZero() && !row.Due.After(until) {
				rows = append(rows, store.DueRow{ID: a.record.ID, Row: row})
			}
		}
	}
	slices.SortFunc(rows, func(a, b store.DueRow) int {
		return cmp.Or(a.Due.Compare(b.Due), bytes.Compare(a.ID[:], b.ID[:]), bytes.Compare(a.Key, b.Key))
	})
	return rows
}

func (m *model) list(q store.ListQuery) []store.Record {
	order := func(a, b store.Address) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Type, b.Type), strings.Compare(a.Key, b.Key))
	}
	var records []store.Record
	for addr, a := range m.actors {
		if addr.Namespace == q.Namespace && (q.Type == "" || q.Type == addr.Type && strings.HasPrefix(addr.Key, q.KeyPrefix)) &&
			(q.After == nil || order(addr, *q.After) > 0) {
			r := a.record
			r.State = nil
			records = append(records, r)
		}
	}
	slices.SortFunc(records, func(a, b store.Record) int { return order(a.Address, b.Address) })
	return records[:min(len(records), q.Limit)]
}

// batch draws a batch of writes, most of which fit what is stored.
func (m *machine) batch(t *rapid.T) []*store.Write {
	addrs := rapid.Permutation(m.addrs).Draw(t, "addresses")
	addrs = addrs[:rapid.IntRange(1, len(addrs)).Draw(t, "writes")]
	var batch []*store.Write
	for _, addr := range addrs {
		r := record(m.store, addr, strings.Repeat("s", drawSize(t)))
		r.StateVersion = rapid.Uint32().Draw(t, "state version")
		r.Quarantined = rapid.Bool().Draw(t, "quarantined")
		w := create(r)
		if a := m.model.actors[addr]; a != nil && rapid.IntRange(0, 9).Draw(t, "exists") > 0 {
			r.ID, r.Revision = a.record.ID, a.record.Revision
			if rapid.IntRange(0, 5).Draw(t, "end") == 0 {
				w = destroy(r)
			} else {
				r.Revision += rapid.Uint64Range(1, 3).Draw(t, "turns")
				w = update(r)
				w.Expect = a.record.Revision
			}
		}
		switch rapid.IntRange(0, 19).Draw(t, "mistake") {
		case 1:
			w.Expect++
		case 2:
			w.Op = rapid.SampledFrom([]store.Op{store.OpUpdate, store.OpDestroy}).Draw(t, "op")
			w.Record.ID = store.NewID(r.ID.Shard())
		}
		if w.Op == store.OpCreate {
			w.Expect = 0
		}
		for range rapid.IntRange(0, 4).Draw(t, "rows") {
			w.Rows = append(w.Rows, drawRow(t))
		}
		batch = append(batch, w)
	}
	return batch
}

func drawRow(t *rapid.T) store.RowWrite {
	w := store.RowWrite{
		Kind: rapid.SampledFrom(modelKinds).Draw(t, "kind"),
		Op:   rapid.SampledFrom([]store.RowOp{store.RowPut, store.RowPut, store.RowPut, store.RowDelete, store.RowDeleteRange}).Draw(t, "row op"),
	}
	w.Key = []byte(drawRowKey(t))
	switch w.Op {
	case store.RowPut:
		w.Value = []byte(strings.Repeat("v", drawSize(t)))
		if rapid.IntRange(0, 3).Draw(t, "is due") > 0 {
			w.Due = drawTime(t)
		}
	case store.RowDeleteRange:
		if rapid.Bool().Draw(t, "has end") {
			w.End = []byte(drawRowKey(t))
		}
	case store.RowDelete:
	}
	return w
}

func drawRowKey(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "\x00", "a", "a\x00", "b", "\xff", "\xff\xff"}).Draw(t, "row key")
}

func drawTime(t *rapid.T) time.Time { return second(rapid.IntRange(0, 9).Draw(t, "second")) }

// drawSize draws a length around those that drivers treat in different ways.
func drawSize(t *rapid.T) int {
	return rapid.SampledFrom([]int{0, 1, 30, 1024, 3000}).Draw(t, "size")
}
