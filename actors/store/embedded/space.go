// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"fmt"
	"sync/atomic"

	"github.com/troupe-dev/troupe/actors/store"
)

// space says whether the disk has room for a batch. The engine cannot go on once a
// write of its log fails, so that a disk is full for us before it is full: what is
// kept free is for the engine's own work on what it has accepted. One look costs a
// microsecond, a batch waits a hundred times as long for the disk.
type space struct {
	low atomic.Bool // as of the last look: so that the log tells it once
}

// room returns why w may not be written, or nil, for each kind of write: what an
// actor's end needs is granted down to half of what is kept free, because it is what
// makes room.
func (s *Store) room() (forEnd, forElse error) {
	floor := s.opts.MinFreeBytes
	if floor < 0 {
		return nil, nil
	}
	usage, err := s.opts.FS.GetDiskUsage(s.dir)
	if err != nil {
		return nil, nil //nolint:nilerr // a file system that cannot tell: the engine finds out
	}
	free := int64(min(usage.AvailBytes, 1<<62))
	if low := free < floor; low != s.space.low.Load() {
		s.space.low.Store(low)
		if low {
			s.opts.Logger.Error("the disk is full: writes are refused until there is room", "dir", s.dir, "free_bytes", free, "kept_free_bytes", floor)
		} else {
			s.opts.Logger.Info("the disk has room again", "dir", s.dir, "free_bytes", free)
		}
	}
	if free >= floor {
		return nil, nil
	}
	full := fmt.Errorf("%w: %d bytes are free in %s and %d are kept free", store.ErrFull, free, s.dir, floor)
	if free >= floor/2 {
		return nil, full
	}
	return full, full
}
