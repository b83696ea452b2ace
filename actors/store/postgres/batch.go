// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/troupe-dev/troupe/actors/store"
)

const (
	// maxActors and softBytes bound what gathers in one statement; a single write may
	// be larger.
	maxActors = 1024
	softBytes = 4 << 20

	// maxMessage bounds the states and rows of one write, in bytes.
	maxMessage = 256 << 20

	// keepBytes is how much room the parameters keep from one statement to the next.
	keepBytes = 16 << 20
)

// topKey is behind every key that a row can have.
var topKey = bytes.Repeat([]byte{0xff}, maxRowKey+1)

// batch is the parameters of [commitSQL], used again and again by one lane.
type batch struct {
	head   [4][]byte // node, lane, seq, number of writes
	arrays [commitParams - 4]array
	params [commitParams][]byte
	mend   [][]byte // unless nil, the parameters that [mendStatement] has besides
	rows   int
}

// The places of the groups of parameters in arrays.
const (
	atCreate  = 0
	atUpdate  = atCreate + 12
	atDestroy = atUpdate + 10
	atPut     = atDestroy + 3
	atRemove  = atPut + 7
)

var arrayTypes = [commitParams - 4]uint32{
	// create
	oidUUID, oidUUID, oidInt8, oidInt8, oidBool, oidInt8, oidInt8, oidInt8, oidBytea, oidBytea, oidBytea, oidBytea,
	// update
	oidUUID, oidUUID, oidInt8, oidInt8, oidInt8, oidBool, oidInt8, oidInt8, oidInt8, oidBytea,
	// destroy
	oidUUID, oidUUID, oidInt8,
	// put
	oidUUID, oidInt2, oidBytea, oidInt8, oidInt4, oidInt4, oidBytea,
	// remove
	oidUUID, oidInt2, oidBytea, oidBytea,
}

// fill makes parameters of the items. They are in order of actor, so that two
// statements never wait for each other in a ring.
func (b *batch) fill(n *node, lane int, items []item) {
	slices.SortFunc(items, func(x, y item) int { return bytes.Compare(x.write.Record.ID[:], y.write.Record.ID[:]) })
	for i := range b.arrays {
		if cap(b.arrays[i].data) > keepBytes {
			b.arrays[i].data = nil
		}
		b.arrays[i].reset(arrayTypes[i])
	}
	b.head[0] = append(b.head[0][:0], n.id[:]...)
	b.head[1] = binary.BigEndian.AppendUint16(b.head[1][:0], uint16(lane))
	b.head[3] = binary.BigEndian.AppendUint32(b.head[3][:0], uint32(len(items)))
	b.rows, b.mend = 0, nil
	for i := range items {
		w := items[i].write
		switch w.Op {
		case store.OpCreate:
			b.create(&w.Record)
		case store.OpUpdate:
			b.update(w)
			if w.Mend { // alone: see seen.together
				b.mend = [][]byte{[]byte(w.Record.Namespace), []byte(w.Record.Type), []byte(w.Record.Key)}
			}
		case store.OpDestroy:
			a := b.arrays[atDestroy:]
			a[0].uuid(w.Record.ID)
			a[1].uuid(digest(w.Record.Address))
			a[2].int8(signed(expected(w)))
			continue
		}
		b.addRows(w.Record.ID, w.Rows)
	}
}

// values are the parameters with a sequence number.
func (b *batch) values(seq int64) [][]byte {
	b.head[2] = binary.BigEndian.AppendUint64(b.head[2][:0], bits(seq))
	copy(b.params[:], b.head[:])
	for i := range b.arrays {
		b.params[len(b.head)+i] = b.arrays[i].param()
	}
	return b.params[:]
}

func (b *batch) create(r *store.Record) {
	a := b.arrays[atCreate:]
	a[0].uuid(r.ID)
	a[1].uuid(digest(r.Address))
	b.record(a[2:], r)
	a[9].text(r.Namespace)
	a[10].text(r.Type)
	a[11].text(r.Key)
}

func (b *batch) update(w *store.Write) {
	a := b.arrays[atUpdate:]
	a[0].uuid(w.Record.ID)
	a[1].uuid(digest(w.Record.Address))
	a[2].int8(signed(expected(w)))
	b.record(a[3:], &w.Record)
}

// record adds what a creation and an update have in common.
func (b *batch) record(a []array, r *store.Record) {
	stored := *r
	stored.StateBytes = len(r.State)
	a[0].int8(signed(r.Revision))
	a[1].int8(int64(r.StateVersion))
	a[2].bool(r.Quarantined)
	a[3].int8(signed(r.EventHead))
	a[4].int8(r.CreatedAt.UnixMilli())
	a[5].int8(recordSum(&stored, stateSum(r.State)))
	a[6].bytes(r.State)
}

// addRows adds what the row writes of one actor come to, from the last to the first:
// what a later one decides, an earlier one does not touch.
func (b *batch) addRows(id store.ID, rows []store.RowWrite) {
	b.rows += len(rows)
	later := laterRows{rows: rows}
	for i := len(rows) - 1; i >= 0; i-- {
		w := &rows[i]
		switch {
		case w.Op == store.RowDeleteRange:
			past := w.End
			if past == nil {
				past = topKey
			}
			first := w.Key
			for _, key := range later.within(i, w.Kind, first, past) {
				b.remove(id, w.Kind, first, key)
				first = append(slices.Clip(key), 0)
			}
			b.remove(id, w.Kind, first, past)
			later.ranges = append(later.ranges, i)
		case later.decides(i):
		case w.Op == store.RowPut:
			b.put(id, w)
		default:
			b.remove(id, w.Kind, w.Key, append(slices.Clip(w.Key), 0))
		}
	}
}

func (b *batch) put(id store.ID, w *store.RowWrite) {
	a := b.arrays[atPut:]
	a[0].uuid(id)
	a[1].int2(int16(w.Kind))
	a[2].bytes(w.Key)
	var due *int64
	if w.Due.IsZero() {
		a[3].null()
	} else {
		micros := w.Due.UnixMicro()
		due = &micros
		a[3].int8(micros)
	}
	a[4].int4(int32(id.Shard()))
	a[5].int4(rowSum(id, w.Kind, w.Key, due, w.Value))
	a[6].bytes(w.Value)
}

func (b *batch) remove(id store.ID, kind store.Kind, first, past []byte) {
	if bytes.Compare(first, past) >= 0 {
		return
	}
	a := b.arrays[atRemove:]
	a[0].uuid(id)
	a[1].int2(int16(kind))
	a[2].bytes(first)
	a[3].bytes(past)
}

// laterRows knows what the later ones of some row writes decide.
type laterRows struct {
	rows   []store.RowWrite
	ranges []int          // those that have been seen, from the last on
	keys   map[rowKey]int // the last write of each key, once there are many
}

type rowKey struct {
	kind store.Kind
	key  string
}

// fewRows is up to how many rows are looked through one by one.
const fewRows = 16

// decides reports whether a later write than i settles what becomes of its key.
func (l *laterRows) decides(i int) bool {
	w := &l.rows[i]
	for _, j := range l.ranges {
		r := &l.rows[j]
		if r.Kind == w.Kind && bytes.Compare(w.Key, r.Key) >= 0 && (r.End == nil || bytes.Compare(w.Key, r.End) < 0) {
			return true
		}
	}
	if len(l.rows) <= fewRows {
		return slices.ContainsFunc(l.rows[i+1:], func(r store.RowWrite) bool {
			return r.Op != store.RowDeleteRange && r.Kind == w.Kind && bytes.Equal(r.Key, w.Key)
		})
	}
	if l.keys == nil {
		l.keys = make(map[rowKey]int, len(l.rows))
		for j := range l.rows {
			if r := &l.rows[j]; r.Op != store.RowDeleteRange {
				l.keys[rowKey{r.Kind, string(r.Key)}] = j
			}
		}
	}
	return l.keys[rowKey{w.Kind, string(w.Key)}] > i
}

// within returns the keys in a range that later single writes than i settle, in order.
func (l *laterRows) within(i int, kind store.Kind, first, past []byte) [][]byte {
	var keys [][]byte
	for j := range l.rows[i+1:] {
		r := &l.rows[i+1+j]
		if r.Op != store.RowDeleteRange && r.Kind == kind && bytes.Compare(r.Key, first) >= 0 && bytes.Compare(r.Key, past) < 0 {
			keys = append(keys, r.Key)
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	return slices.CompactFunc(keys, bytes.Equal)
}
