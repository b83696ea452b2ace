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

// awaitEnd waits until none of some processes that were killed runs.
func awaitEnd(ids []int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, id := range ids {
		for runs(id) {
			<-tick.C
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
