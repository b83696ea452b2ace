// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// ownerOf returns which of some processes has opened a connection of 127.0.0.1. It asks
// Linux: the nodes are the server as it is, and know nothing of the proxies.
func ownerOf(conn net.Conn, processes []int) (n int, known bool) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, false
	}
	local, remote := fmt.Sprintf("0100007F:%04X", portOf(conn.RemoteAddr())), fmt.Sprintf("0100007F:%04X", portOf(conn.LocalAddr()))
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 10 || fields[1] != local || fields[2] != remote || fields[9] == "0" {
			continue
		}
		socket := "socket:[" + fields[9] + "]"
		for n, process := range processes {
			files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", process)) // none: it has ended
			for _, file := range files {
				if target, err := os.Readlink(file); err == nil && target == socket {
					return n, true
				}
			}
		}
	}
	return 0, false
}

func portOf(addr net.Addr) int { return addr.(*net.TCPAddr).Port }
