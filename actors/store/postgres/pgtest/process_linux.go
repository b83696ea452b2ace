// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// endWithParent makes a server stop when the test process dies without a word.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }

// children returns the processes that a process has started.
func children(id int) []int {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", id, id))
	if err != nil {
		return nil
	}
	var all []int
	for field := range strings.FieldsSeq(string(list)) {
		if child, err := strconv.Atoi(field); err == nil {
			all = append(all, child)
		}
	}
	return all
}

// tick is the unit of the times in /proc/ID/stat: sysconf(_SC_CLK_TCK), which is 100 on
// every Linux that Go runs on.
const tick = time.Second / 100

// cpuTime is what a process has used, with its children that run and those that have
// ended.
func cpuTime(id int) time.Duration {
	total := ownTime(id) + endedTime(id)
	for _, child := range children(id) {
		total += ownTime(child)
	}
	return total
}

// ownTime is what a process of one thread has used. A process that has ended has none.
func ownTime(id int) time.Duration {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", id))
	fields := strings.Fields(string(data))
	if len(fields) == 0 {
		return 0
	}
	ns, _ := strconv.ParseInt(fields[0], 10, 64) // the kernel's own
	return time.Duration(ns)
}

// endedTime is what those children of a process have used that have ended, in whole
// ticks.
func endedTime(id int) time.Duration {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 15 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[13], 10, 64)
	system, _ := strconv.ParseInt(fields[14], 10, 64)
	return time.Duration(user+system) * tick
}

// awaitEnd waits until none of some processes that were killed runs.
func awaitEnd(ids []int) {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for _, id := range ids {
		for runs(id) {
			<-again.C
		}
	}
}

// runs reports whether a process is there, and more than its entry in the table of
// processes.
func runs(id int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return false
	}
	state := stat[bytes.LastIndexByte(stat, ')')+1:]
	return !bytes.HasPrefix(state, []byte(" Z")) && !bytes.HasPrefix(state, []byte(" X"))
}
