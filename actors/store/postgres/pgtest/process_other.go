// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package pgtest

import (
	"syscall"
	"time"
)

// endWithParent does nothing here: a server outlives a test process that is killed.
func endWithParent(*syscall.SysProcAttr) {}

// cpuTime knows nothing here.
func cpuTime(int) time.Duration { return 0 }

// children knows of none: they end when they find their server gone.
func children(int) []int { return nil }

// awaitEnd has nobody to wait for.
func awaitEnd([]int) {}
