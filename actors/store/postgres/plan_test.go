// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

// TestPlanOfTheCommit holds that the statement is planned the same for empty tables and
// for full ones, and reads every table by an index: a plan that was made for an empty
// table is used until the statistics change.
func TestPlanOfTheCommit(t *testing.T) {
	t.Parallel()
	opts, err := Options{URL: pgtest.Database(t)}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := s.connect.connect(t.Context(), "plan", s.lanes[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }() // its purpose is served
	if _, err := conn.Exec(t.Context(), "PREPARE commit AS "+commitSQL); err != nil {
		t.Fatal(err)
	}
	plan := func() string {
		t.Helper()
		rows, err := conn.Query(t.Context(), "EXPLAIN (COSTS OFF) EXECUTE commit ("+strings.TrimSuffix(strings.Repeat("NULL, ", commitParams), ", ")+")", pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(lines, "\n")
	}
	empty := plan()
	if _, err := conn.Exec(t.Context(), `
		SET statement_timeout = 0;
		INSERT INTO actor SELECT gen_random_uuid(), gen_random_uuid(), 1, 1, false, 0, 0, 0, 'a', 'b', int4send(n), 'state' FROM generate_series(1, 50000) n;
		INSERT INTO actor_row SELECT id, 1, int4send(n), n, 0, 0, 'value' FROM actor, generate_series(1, 2) n;
		ANALYZE`); err != nil {
		t.Fatal(err)
	}
	full := plan()
	for name, p := range map[string]string{"empty": empty, "full": full} {
		for _, bad := range []string{"Seq Scan", "Hash", "Merge", "Materialize"} {
			if strings.Contains(p, bad) {
				t.Errorf("the plan for %s tables has a %s:\n%s", name, bad, p)
			}
		}
	}
	if empty != full {
		t.Errorf("plan for empty tables:\n%s\nfor full ones:\n%s", empty, full)
	}
}
