// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
)

// RestoredFile is the name of an empty file that whoever restores a backup puts into
// the store's directory, before the store is opened for the first time. It gives the
// store another generation and is removed. Without it, a cursor of an event that the
// backup does not know fits another event once the store has come as far again.
const RestoredFile = "RESTORED"

// renew gives the store another generation if it was restored from a backup. A crash
// before the file is gone costs one more generation, which does no harm.
func (s *Store) renew() error {
	path := s.opts.FS.PathJoin(s.dir, RestoredFile)
	if _, err := s.opts.FS.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return readError("look for "+RestoredFile, err)
	}
	renewed := s.meta
	renewed.generation = newGeneration()
	if err := s.db.Set(metaKey(), renewed.encode(), pebble.Sync); err != nil {
		return readError("write the store's generation", err)
	}
	if err := s.opts.FS.Remove(path); err != nil {
		return readError("remove "+RestoredFile, err)
	}
	s.meta = renewed
	s.opts.Logger.Info("the store was restored from a backup: cursors from before are refused", "dir", s.dir, "generation", renewed.generation)
	return nil
}
