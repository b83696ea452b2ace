// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package store

import "hash/fnv"

// DefaultShards is the number of shards of a new store.
const DefaultShards uint16 = 4096

// ShardOf returns the shard of an address: FNV-1a over its parts, each followed
// by a zero byte, modulo the store's number of shards. The hash is part of the
// stored format and never changes.
func ShardOf(addr Address, shards uint16) uint16 {
	h := fnv.New64a()
	for _, part := range [...]string{addr.Namespace, addr.Type, addr.Key} {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	return uint16(h.Sum64() % uint64(shards))
}
