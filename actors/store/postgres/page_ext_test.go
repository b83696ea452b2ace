// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

// TestP14_ADamagedPageCostsItsActorsAlone writes over a page of the table of actors. Those in it are
// damaged, and fail no other actor that is committed beside them.
func TestP14_ADamagedPageCostsItsActorsAlone(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.Database(t)
	s := openStore(t, postgres.Options{URL: url, Lanes: 1, Patience: time.Minute})
	defer closeStore(t, s)
	var actors []*store.Write
	for i := range 16 {
		w := newActor(s, fmt.Sprint(i))
		w.Record.State = bytes.Repeat([]byte{1}, 1500)
		commit(t, s, w)
		actors = append(actors, w)
	}
	bad, good := actors[0], actors[len(actors)-1]
	conn := session(t, url)
	pageOf := func(w *store.Write) int {
		t.Helper()
		return number(t, conn, `SELECT (ctid::text::point)[0]::integer FROM actor WHERE id = $1`, [16]byte(w.Record.ID))
	}
	if pageOf(bad) != 0 || pageOf(good) == 0 {
		t.Fatalf("the actors are in the pages %d and %d", pageOf(bad), pageOf(good))
	}
	var dir, file string
	if err := conn.QueryRow(t.Context(), `SELECT current_setting('data_directory'), pg_relation_filepath('actor')`).Scan(&dir, &file); err != nil {
		t.Fatal(err)
	}
	server.Shutdown()
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, 512), 0)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	server.Start(t)

	batch := []*store.Write{after(bad, "second"), after(good, "second")}
	s.Commit(t.Context(), batch).Wait()
	if !errors.Is(batch[0].Err, store.ErrCorrupt) || batch[1].Err != nil {
		t.Errorf("commit: %v, %v; want ErrCorrupt, nil", batch[0].Err, batch[1].Err)
	}
	if _, err := s.Load(t.Context(), bad.Record.Address); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Load of an actor in the page: %v, want ErrCorrupt", err)
	}
	if got := stateOf(t, s, good); got != "second" {
		t.Errorf("the state of the other has %d bytes", len(got))
	}
}
