// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// shared is the server of all tests of a process.
var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Main runs the tests of a package and stops their shared server. It does not return.
func Main(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.server.Close()
	}
	os.Exit(code)
}

// Shared returns the server that all tests of the process share: see [Main].
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = New("") })
	if shared.err != nil {
		t.Fatalf("pgtest: %v", shared.err)
	}
	return shared.server
}

// Database returns the URL of a new and empty database on the shared server, which is
// removed with everything in it when the test ends.
func Database(t testing.TB) string {
	t.Helper()
	return Shared(t).Database(t)
}

// Database returns the URL of a new and empty database, which is removed with everything
// in it when the test ends.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name, err := s.create(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if s.running() {
			s.Exec(t, "postgres", "DROP DATABASE "+name+" WITH (FORCE)")
		}
	})
	return s.URL(name)
}

// Create returns the URL of a new and empty database, which stays.
func (s *Server) Create(ctx context.Context) (string, error) {
	name, err := s.create(ctx)
	return s.URL(name), err
}

func (s *Server) create(ctx context.Context) (string, error) {
	name := fmt.Sprintf("test_%d", s.names.Add(1))
	return name, s.exec(ctx, "postgres", "CREATE DATABASE "+name)
}

// Exec runs a statement in a database as the superuser.
func (s *Server) Exec(t testing.TB, database, sql string) {
	t.Helper()
	if err := s.exec(context.WithoutCancel(t.Context()), database, sql); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
}

func (s *Server) exec(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is under way
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// Query returns the rows that a statement gives in a database, as text, to the superuser.
func (s *Server) Query(t testing.TB, database, sql string) [][]string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is under way
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("pgtest: %s: %v", sql, err)
	}
	var rows [][]string
	for _, result := range results {
		for _, columns := range result.Rows {
			row := make([]string, len(columns))
			for i, column := range columns {
				row[i] = string(column)
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process != nil
}
