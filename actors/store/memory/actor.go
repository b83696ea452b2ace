// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// actor is a record and its rows.
type actor struct {
	record store.Record
	rows   map[store.Kind]rows
}

// rows are the rows of one kind, in order of key.
type rows []store.Row

// find returns where key is or would be.
func (r rows) find(key []byte) (int, bool) {
	return slices.BinarySearchFunc(r, key, func(row store.Row, key []byte) int {
		return bytes.Compare(row.Key, key)
	})
}

// between returns the half-open stretch of r with keys in [from, to), where a nil
// to is the end.
func (r rows) between(from, to []byte) (i, j int) {
	i, _ = r.find(from)
	j = len(r)
	if to != nil {
		j, _ = r.find(to)
	}
	return i, max(i, j)
}

func cloneRow(r store.Row) store.Row {
	r.Key = slices.Clone(r.Key)
	r.Value = slices.Clone(r.Value)
	return r
}

func compareAddresses(a, b store.Address) int {
	return cmp.Or(
		strings.Compare(a.Namespace, b.Namespace),
		strings.Compare(a.Type, b.Type),
		strings.Compare(a.Key, b.Key),
	)
}

// dueIndex holds the rows that have a due time, by shard and kind, in order.
type dueIndex map[dueList][]place

type dueList struct {
	shard uint16
	kind  store.Kind
}

// place says where a due row is. The time is in microseconds since 1970.
type place struct {
	due int64
	id  store.ID
	key string
}

func comparePlaces(a, b place) int {
	return cmp.Or(
		cmp.Compare(a.due, b.due),
		bytes.Compare(a.id[:], b.id[:]),
		strings.Compare(a.key, b.key),
	)
}

func (d dueIndex) add(id store.ID, kind store.Kind, row store.Row) {
	if row.Due.IsZero() {
		return
	}
	list := dueList{id.Shard(), kind}
	p := place{due: row.Due.UnixMicro(), id: id, key: string(row.Key)}
	i, _ := slices.BinarySearchFunc(d[list], p, comparePlaces)
	d[list] = slices.Insert(d[list], i, p)
}

func (d dueIndex) remove(id store.ID, kind store.Kind, row store.Row) {
	if row.Due.IsZero() {
		return
	}
	list := dueList{id.Shard(), kind}
	p := place{due: row.Due.UnixMicro(), id: id, key: string(row.Key)}
	if i, found := slices.BinarySearchFunc(d[list], p, comparePlaces); found {
		d[list] = slices.Delete(d[list], i, i+1)
	}
}

// storedTime is t as a store keeps it: to the given unit, in UTC.
func storedTime(t time.Time, unit time.Duration) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	if unit == time.Millisecond {
		return time.UnixMilli(t.UnixMilli()).UTC()
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}
