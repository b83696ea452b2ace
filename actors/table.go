// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"hash/maphash"
	"sync"

	"github.com/troupe-dev/troupe/actors/store"
)

// tableParts is the number of independently locked parts of a table.
const tableParts = 64

// table finds the instances of a host by address and, those in memory, by id.
type table struct {
	seed  maphash.Seed
	parts [tableParts]struct {
		mu     sync.RWMutex
		byAddr map[store.Address]*instance // guarded by mu
		byID   map[store.ID]*instance      // guarded by mu
	}
}

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	for i := range t.parts {
		t.parts[i].byAddr = make(map[store.Address]*instance)
		t.parts[i].byID = make(map[store.ID]*instance)
	}
	return t
}

// get returns the instance at addr, making it if it is absent.
func (t *table) get(h *Host, typ *actorType, addr store.Address) *instance {
	part := &t.parts[maphash.Comparable(t.seed, addr)%tableParts]
	part.mu.RLock()
	i := part.byAddr[addr]
	part.mu.RUnlock()
	if i != nil {
		return i
	}
	part.mu.Lock()
	defer part.mu.Unlock()
	if i = part.byAddr[addr]; i == nil {
		i = &instance{host: h, typ: typ, addr: addr}
		if h.holding != nil {
			i.shard = store.ShardOf(addr, h.shards)
		}
		part.byAddr[addr] = i
	}
	return i
}

// peek returns the instance at addr, or nil.
func (t *table) peek(addr store.Address) *instance {
	part := &t.parts[maphash.Comparable(t.seed, addr)%tableParts]
	part.mu.RLock()
	defer part.mu.RUnlock()
	return part.byAddr[addr]
}

// withID returns the instance that has id in memory, or nil.
func (t *table) withID(id store.ID) *instance {
	part := &t.parts[id[15]%tableParts]
	part.mu.RLock()
	defer part.mu.RUnlock()
	return part.byID[id]
}

func (t *table) addID(id store.ID, i *instance) {
	part := &t.parts[id[15]%tableParts]
	part.mu.Lock()
	defer part.mu.Unlock()
	part.byID[id] = i
}

func (t *table) removeID(id store.ID) {
	part := &t.parts[id[15]%tableParts]
	part.mu.Lock()
	defer part.mu.Unlock()
	delete(part.byID, id)
}

// inMemory is how many actors are in memory.
func (t *table) inMemory() int64 {
	total := 0
	for n := range t.parts {
		part := &t.parts[n]
		part.mu.RLock()
		total += len(part.byID)
		part.mu.RUnlock()
	}
	return int64(total)
}

func (t *table) remove(i *instance) {
	part := &t.parts[maphash.Comparable(t.seed, i.addr)%tableParts]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.byAddr[i.addr] == i {
		delete(part.byAddr, i.addr)
	}
}

// all calls f with every instance, some of which may have gone meanwhile.
func (t *table) all(f func(*instance)) {
	var some []*instance
	for n := range t.parts {
		part := &t.parts[n]
		part.mu.RLock()
		some = some[:0]
		for _, i := range part.byAddr {
			some = append(some, i)
		}
		part.mu.RUnlock()
		for _, i := range some {
			f(i)
		}
	}
}
