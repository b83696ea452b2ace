// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package main

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// datasync makes what was written to f durable.
func datasync(f *os.File) error { return f.Sync() }

// preallocate gives f room for size bytes.
func preallocate(f *os.File, size int64) error { return f.Truncate(size) }

// cpuTime is the user and system time that this process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// resident is not measured on this system.
func resident() uint64 { return 0 }

// kernel names the operating system.
func kernel() string { return runtime.GOOS }

// loadAverage is not read on this system.
func loadAverage() string { return "?" }

// fileLimit is the number of files that a process may have open.
func fileLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur)
}

// childAttributes has nothing to ask for: a child ends when its input does.
func childAttributes() *syscall.SysProcAttr { return nil }
