// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/troupe-dev/troupe/actors/store/embedded"
)

// TestP34_ARestoredStoreHasAnotherGeneration restores a backup as the documentation
// says. That cursors of another generation are refused is tested in package actors.
func TestP34_ARestoredStoreHasAnotherGeneration(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := openDir(t, dir, small())
	actor := newActor("a")
	commit(t, s, actor)
	before := s.Info().Generation
	closeStore(t, s)
	restored := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(restored, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	marker := filepath.Join(restored, embedded.RestoredFile)
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	s = openDir(t, restored, small())
	after := s.Info().Generation
	if after == before || after == 0 {
		t.Errorf("the generation is %d, and was %d before the backup", after, before)
	}
	if _, err := os.Stat(marker); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v, want that it is gone", embedded.RestoredFile, err)
	}
	if record, err := s.Load(t.Context(), actor.Record.Address); err != nil || record.ID != actor.Record.ID {
		t.Errorf("the actor: %v, %v", record, err)
	}
	closeStore(t, s)

	for _, kept := range []struct {
		dir        string
		generation uint64
	}{{restored, after}, {dir, before}} {
		s = openDir(t, kept.dir, small())
		if got := s.Info().Generation; got != kept.generation {
			t.Errorf("%s was opened again and its generation is %d, want %d", kept.dir, got, kept.generation)
		}
		closeStore(t, s)
	}
}
