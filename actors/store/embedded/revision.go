// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"hash/maphash"

	"github.com/troupe-dev/troupe/actors/store"
)

// maxRevisions is how many actors each half of the cache holds: together about
// 8 MiB when both are full.
const maxRevisions = 1 << 16

// revisions remembers the stored revision of the actors written most recently, so
// that the next write of a busy actor reads nothing. It is two maps: when the young
// one is full it becomes the old one, and what the old one still held is forgotten.
// Not for concurrent use: Store.mu guards it.
type revisions struct {
	limit      int
	seed       maphash.Seed
	young, old map[store.ID]known
}

// known is what the cache holds of an actor. The address is kept as a hash, enough
// to catch a Write whose id and address do not belong together.
type known struct {
	revision uint64
	address  uint64
}

func (r *revisions) init(limit int) {
	r.limit = limit
	r.seed = maphash.MakeSeed()
	r.young = make(map[store.ID]known)
}

// get returns the revision of the actor if it is known; match is false if the id
// is known to have another address.
func (r *revisions) get(id store.ID, addr store.Address) (revision uint64, match, found bool) {
	k, found := r.young[id]
	if !found {
		if k, found = r.old[id]; !found {
			return 0, false, false
		}
	}
	return k.revision, k.address == r.hash(addr), true
}

func (r *revisions) put(id store.ID, addr store.Address, revision uint64) {
	if len(r.young) >= r.limit {
		if _, there := r.young[id]; !there {
			r.young, r.old = r.old, r.young
			if r.young == nil {
				r.young = make(map[store.ID]known, r.limit)
			}
			clear(r.young)
		}
	}
	r.young[id] = known{revision: revision, address: r.hash(addr)}
}

func (r *revisions) drop(id store.ID) {
	delete(r.young, id)
	delete(r.old, id)
}

func (r *revisions) hash(addr store.Address) uint64 {
	return maphash.Comparable(r.seed, addr)
}
