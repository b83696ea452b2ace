// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package placementtest is what tests need of placement: a [Cluster] in memory, whose
// nodes can be killed, paused and cut off, and [Run], the suite that every authority
// passes.
package placementtest
