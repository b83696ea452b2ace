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
	total := cpuFields(id, 11, 15) // user, system, and both of the children that have ended
	for _, child := range children(id) {
		total += cpuFields(child, 11, 13)
	}
	return total
}

// cpuFields adds up fields of a process's stat, counted from behind its name.
func cpuFields(id, from, to int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	var ticks int64
	for _, field := range fields[min(from, len(fields)):min(to, len(fields))] {
		n, _ := strconv.ParseInt(field, 10, 64) // the kernel's own
		ticks += n
	}
	return time.Duration(ticks) * tick
}
