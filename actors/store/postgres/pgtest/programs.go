// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package pgtest

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// programs finds the directory with the server's programs, the newest one on Debian.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
		return filepath.Dir(found[len(found)-1]), nil
	}
	program, err := exec.LookPath("postgres")
	if err != nil {
		return "", errors.New("PostgreSQL is not installed: run make setup, or install the Debian package postgresql")
	}
	return filepath.Dir(program), nil
}

func version(program string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(program)))) // 0 comes first
	return n
}

// unprivileged returns who is to run a server: for root, somebody else.
func unprivileged() (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	endWithParent(attr)
	if os.Geteuid() != 0 {
		return attr, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		who, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(who.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(who.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return attr, nil
	}
	return nil, errors.New("a server does not run as root, and there is neither a user postgres nor nobody")
}
