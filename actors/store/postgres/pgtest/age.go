// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package pgtest

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// oldTransaction is the number of a transaction so high that the first ones are about to be
// forgotten. It is the first one of a file of what became of transactions.
const (
	oldTransaction       = 2020 << 20
	oldTransactionFile   = "07E4" // 2020
	transactionFileBytes = 256 << 10
)

// Age has the server, which is shut down meanwhile, count its transactions from where it
// warns in each of them that a VACUUM is due.
func (s *Server) Age(t testing.TB) {
	t.Helper()
	s.Shutdown()
	if out, err := s.command("pg_resetwal", "-x", strconv.Itoa(oldTransaction), s.data()).CombinedOutput(); err != nil {
		t.Fatalf("pgtest: pg_resetwal: %v\n%s", err, out)
	}
	name := filepath.Join(s.data(), "pg_xact", oldTransactionFile)
	err := os.WriteFile(name, make([]byte, transactionFileBytes), 0o600)
	if c := s.owner.Credential; c != nil {
		err = errors.Join(err, os.Chown(name, int(c.Uid), int(c.Gid)))
	}
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	s.Start(t)
}
