// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package pgtest

import (
	"os"
	"strings"
	"testing"
)

// Standby starts a standby of the server that ends with the test. It is named name for
// synchronous_standby_names and keeps up with the server by itself.
func (s *Server) Standby(t testing.TB, name string) *Server {
	t.Helper()
	standby, err := prepare("")
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(standby.Close)
	source := strings.TrimSuffix(s.URL("postgres"), "postgres?sslmode=disable") + "?sslmode=disable&application_name=" + name
	out, err := standby.command("pg_basebackup", "-D", standby.data(), "-d", source,
		"-R", "-X", "stream", "-c", "fast", "-C", "-S", "standby_"+name, "--no-sync").CombinedOutput()
	if err != nil {
		t.Fatalf("pgtest: pg_basebackup: %v\n%s", err, out)
	}
	if err := os.Chmod(standby.data(), 0o700); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	if err := standby.start(); err != nil {
		t.Fatalf("pgtest: start the standby: %v", err)
	}
	return standby
}

// Promote makes a standby a primary.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	s.Exec(t, "postgres", "SELECT pg_promote(true, 60)")
}
