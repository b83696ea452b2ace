// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

// WithLiveHeap has a host believe what tests say of the heap.
func WithLiveHeap(cfg *Config, read func() (live, cycle uint64)) { cfg.liveHeap = read }
