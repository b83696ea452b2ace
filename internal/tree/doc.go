// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package tree has no code, only tests of the tree itself: who may import whom, how
// long a file may be, what every file begins with.
package tree
