// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"encoding/binary"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

// How much an actor keeps is its state, and the keys and values of its pairs, its
// schedules and its messages. A counter of the bytes of these rows is one more row,
// written in the commit of each turn that changes some: it is exact. The event log and
// the records of idempotency keys have bounds of their own and do not count.

// usageKey is the key of the counter, among the rows about schedules as a whole.
var usageKey = []byte{0, 'b'}

// usage is what a body knows of the bytes of its rows, as of the newest turn.
type usage struct {
	known bool
	bytes int64
}

// MaxStorageBytes bounds what an actor keeps in all: its state, and the keys and
// values of its pairs ([KV]), schedules and messages. Default 1 GiB. A turn that would
// exceed it by what it writes besides the state fails with resource_exhausted, reason
// actor_storage_full; one that makes it smaller does not.
func MaxStorageBytes(n int) Option {
	return positive("MaxStorageBytes", n, func(l *limits) { l.storageBytes = int64(n) })
}

// saw takes note of how large a stored row is, 0 if it is not there, that the turn has
// read and may replace.
func (t *turn) saw(kind store.Kind, key string, size int) {
	if t.readOnly || kind == store.KindIdempotency || kind == store.KindEvent {
		return
	}
	if t.sizes == nil {
		t.sizes = make(map[rowKey]int)
	}
	t.sizes[rowKey{kind, key}] = size
}

// account adds to a change what it makes of the actor's bytes, and refuses it if they
// would be too many. What the runtime writes by itself is never refused.
func (t *turn) account(b *body, c *change) error {
	grown, counted, err := t.growth()
	if err != nil || !counted {
		return err
	}
	ctx := context.WithoutCancel(t)
	if !b.usage.known {
		row, _, err := t.row(ctx, store.KindSchedule, usageKey)
		if err != nil {
			return err
		}
		bytes, _ := binary.Uvarint(row.Value)
		b.usage = usage{true, int64(bytes)}
	}
	c.usage = usage{true, max(0, b.usage.bytes+grown)}
	limit := b.inst.typ.limits.storageBytes
	if total := c.usage.bytes + int64(len(c.state)); grown > 0 && total > limit && !t.asleep {
		return &refusalError{refusal(connect.CodeResourceExhausted, "actor_storage_full", notExecuted,
			"the actor would keep %d bytes and may keep %d", total, limit)}
	}
	if grown != 0 {
		t.setRow(store.KindSchedule, store.Row{Key: usageKey, Value: binary.AppendUvarint(nil, uint64(c.usage.bytes))}, false)
	}
	return nil
}

// growth returns by how many bytes a turn makes the rows that count larger, and
// whether it writes any.
func (t *turn) growth() (grown int64, counted bool, err error) {
	var unknown map[store.Kind][][]byte
	i := t.inst
	i.mu.Lock()
	for name, over := range t.rows {
		if name.kind == store.KindIdempotency || name.kind == store.KindSchedule && name.key == string(usageKey) {
			continue
		}
		counted = true
		if !over.deleted {
			grown += int64(len(over.row.Key) + len(over.row.Value))
		}
		if before, ok := i.rows[name]; ok {
			if !before.deleted {
				grown -= int64(len(before.row.Key) + len(before.row.Value))
			}
		} else if size, ok := t.sizes[name]; ok {
			grown -= int64(size)
		} else {
			if unknown == nil {
				unknown = make(map[store.Kind][][]byte)
			}
			unknown[name.kind] = append(unknown[name.kind], over.row.Key)
		}
	}
	i.mu.Unlock()
	for kind, keys := range unknown {
		sizes, err := store.Measure(context.WithoutCancel(t), i.host.store, i.id, kind, keys)
		if err != nil {
			return 0, false, t.storeError(err)
		}
		for _, size := range sizes {
			grown -= int64(size)
		}
	}
	return grown, counted, nil
}
