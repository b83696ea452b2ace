// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"math"
	"sync"

	"github.com/troupe-dev/troupe/actors/store"
)

// marks holds, for each shard and kind that has been scanned, a time before which
// the due index leads to no row. A scan begins there: what has fired leaves deleted
// keys behind, and walking over them costs milliseconds. Safe for concurrent use.
type marks struct {
	mu sync.Mutex // guards the map and every mark in it
	of map[markKey]*mark
}

type markKey struct {
	shard uint16
	kind  store.Kind
}

// mark is the low-water mark of one shard and kind, in microseconds.
type mark struct {
	low int64
	// scans is how many scans are on their way. Each may raise the mark to
	// where it found the first row, but has not seen what was added since it
	// began; added is the earliest of these.
	scans int
	added int64
}

// duePlace is a place that a commit has added to the due index.
type duePlace struct {
	shard uint16
	kind  store.Kind
	at    int64
}

// begin returns where a scan may begin. It is followed by one call of end.
func (m *marks) begin(shard uint16, kind store.Kind) (*mark, int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = make(map[markKey]*mark)
	}
	key := markKey{shard, kind}
	k := m.of[key]
	if k == nil {
		k = &mark{low: math.MinInt64}
		m.of[key] = k
	}
	if k.scans == 0 {
		k.added = math.MaxInt64
	}
	k.scans++
	return k, k.low
}

// end raises the mark to first, the time of the first row that the scan found.
func (m *marks) end(k *mark, first int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k.scans--
	k.low = max(k.low, min(first, k.added))
}

// lower makes room for a new place. It is called once the place is visible and
// before the commit returns: a scan that begins in between either sees the place or
// is corrected by this call.
func (m *marks) lower(d duePlace) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.of[markKey{d.shard, d.kind}]
	if k == nil {
		return // never scanned: the mark is at the beginning
	}
	k.low = min(k.low, d.at)
	k.added = min(k.added, d.at)
}
