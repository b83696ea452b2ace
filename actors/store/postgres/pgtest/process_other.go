// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package pgtest

import "syscall"

// endWithParent does nothing here: a server outlives a test process that is killed.
func endWithParent(*syscall.SysProcAttr) {}

// children knows of none: they end when they find their server gone.
func children(int) []int { return nil }

// awaitEnd has nobody to wait for.
func awaitEnd([]int) {}
