// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

// faultFS makes the calls fail for which fault returns an error.
func faultFS(inner vfs.FS, fault func(op errorfs.Op) error) vfs.FS {
	injector := errorfs.InjectorFunc(fault)
	return recyclingFS{errorfs.Wrap(inner, injector), injector}
}

func isLog(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".log") || op.Path == recycled }

func isSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
}

// TestP13_AFailedSyncIsNeverTriedAgain has one sync of the log fail and all others go
// well. The store takes no write from there on, and what it serves after a restart is
// what it has acknowledged before.
func TestP13_AFailedSyncIsNeverTriedAgain(t *testing.T) {
	t.Parallel()
	disk := vfs.NewCrashableMem()
	var armed, failed atomic.Bool
	opts, stopped := small(), make(chan error, 1)
	opts.FS = faultFS(disk, func(op errorfs.Op) error {
		if armed.Load() && isLog(op) && isSync(op) && failed.CompareAndSwap(false, true) {
			return syscall.EIO
		}
		return nil
	})
	opts.Fatal = func(err error) { stopped <- err }
	s := openDir(t, "store", opts)
	good := newActor("a")
	commit(t, s, good)
	armed.Store(true)
	lost := nextTurn(good)
	s.Commit(t.Context(), []*store.Write{lost}).Wait()
	if !errors.Is(lost.Err, store.ErrUnknown) {
		t.Errorf("the write whose sync failed: %v, want ErrUnknown", lost.Err)
	}
	if err := <-stopped; !errors.Is(err, syscall.EIO) {
		t.Errorf("Fatal got %v", err)
	}
	for range 3 {
		later := newActor("b")
		s.Commit(t.Context(), []*store.Write{later}).Wait()
		if later.Err == nil || errors.Is(later.Err, store.ErrUnknown) {
			t.Fatalf("a write after the failure: %v, want a definite refusal", later.Err)
		}
	}
	opts.FS = disk.CrashClone(vfs.CrashCloneCfg{})
	again := openDir(t, "store", opts)
	if r, err := again.Load(t.Context(), good.Record.Address); err != nil || r.Revision != 1 {
		t.Errorf("after the restart: revision %d, %v", r.Revision, err)
	}
	closeStore(t, again)
}

// TestP13_AnyCallOfTheDiskMayFail fails one call of the file system, of any kind that
// changes something, and has the calls after it go well. Either the engine works
// around it, or the process ends with a status that says so; what was acknowledged is
// there after the restart.
func TestP13_AnyCallOfTheDiskMayFail(t *testing.T) {
	t.Parallel()
	ended := 0
	for name, fault := range map[string]syscall.Errno{"EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC} {
		for n := 1 + rand.IntN(20); n < 320; n += 40 {
			dir := t.TempDir()
			cmd, out := startChild(t, dir, fmt.Sprintf("%s=%d", childCall, n), fmt.Sprintf("%s=%d", childErrno, int(fault)))
			var acked uint64
			for batch := readAck(t, out); batch > 0; batch = readAck(t, out) {
				acked = batch
			}
			if err := cmd.Wait(); err != nil {
				ended++
			} else if acked < childBatches {
				t.Errorf("%s at call %d: the process ended well after %d batches", name, n, acked)
			}
			s := openDir(t, dir, small())
			storetest.CheckLoad(t, s, acked, true)
			closeStore(t, s)
			if t.Failed() {
				t.Fatalf("%s at call %d, %d batches acknowledged, status %d", name, n, acked, cmd.ProcessState.ExitCode())
			}
		}
	}
	if ended == 0 {
		t.Error("no failure ended the process")
	}
}

// failingCall fails one call with an error.
func failingCall(inner vfs.FS, n int64, errno syscall.Errno) vfs.FS {
	var calls atomic.Int64
	return faultFS(inner, func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose && calls.Add(1) == n {
			return errno
		}
		return nil
	})
}

// TestP8_AFullDiskRefusesWritesAndServesReads takes the room away and gives it back.
func TestP8_AFullDiskRefusesWritesAndServesReads(t *testing.T) {
	t.Parallel()
	const floor = 100 << 20
	disk := vfs.NewMem()
	free := func(bytes uint64) { disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: bytes, TotalBytes: 1 << 40}) }
	opts := small()
	opts.FS, opts.MinFreeBytes = disk, floor
	opts.Fatal = func(err error) { t.Errorf("the process ends: %v", err) }
	s := openDir(t, "store", opts)
	defer func() { closeStore(t, s) }()
	a, b := newActor("a"), newActor("b")
	commit(t, s, a, b)

	refused := func(w *store.Write) {
		t.Helper()
		s.Commit(t.Context(), []*store.Write{w}).Wait()
		if !errors.Is(w.Err, store.ErrFull) {
			t.Errorf("write of %s: %v, want ErrFull", w.Record.Key, w.Err)
		}
	}
	end := func(w *store.Write) *store.Write {
		return &store.Write{Op: store.OpDestroy, Expect: w.Record.Revision, Record: w.Record}
	}
	free(floor - 1)
	refused(nextTurn(a))
	refused(newActor("c"))
	commit(t, s, end(b)) // makes room
	free(floor/2 - 1)
	refused(end(a))
	if r, err := s.Load(t.Context(), a.Record.Address); err != nil || r.Revision != 1 {
		t.Errorf("Load: revision %d, %v", r.Revision, err)
	}
	if _, err := s.Load(t.Context(), newActor("c").Record.Address); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Load of an actor that was refused: %v", err)
	}
	free(floor)
	commit(t, s, nextTurn(a), newActor("c"))
}

// TestP8_AFullDiskIsLeftAlone holds that what removes rows by itself writes nothing when the disk
// is full: a write that fails ends the process, and there is no room to start it again. Like
// what an actor's end needs, it is granted down to half of what is kept free.
func TestP8_AFullDiskIsLeftAlone(t *testing.T) {
	t.Parallel()
	const floor = 100 << 20
	disk := vfs.NewMem()
	free := func(bytes uint64) { disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: bytes, TotalBytes: 1 << 40}) }
	opts := small()
	opts.FS, opts.MinFreeBytes = disk, floor
	s := openDir(t, "store", opts)
	defer func() { closeStore(t, s) }()
	due := func(kind store.Kind, key string) store.RowWrite {
		return store.RowWrite{Kind: kind, Row: store.Row{Key: []byte(key), Due: time.UnixMicro(1)}}
	}
	a := newActor("a")
	a.Rows = []store.RowWrite{due(store.KindIdempotency, "1"), due(store.KindIdempotency, "2"), due(store.KindSchedule, "s")}
	commit(t, s, a)
	done := nextTurn(a)
	done.Rows = []store.RowWrite{{Kind: store.KindSchedule, Op: store.RowDelete, Row: store.Row{Key: []byte("s")}}}
	commit(t, s, done) // which leaves its place in the due index

	expire := func(limit, want int) {
		t.Helper()
		n, err := s.Expire(t.Context(), a.Record.ID.Shard(), store.KindIdempotency, time.UnixMicro(1), limit)
		if err != nil || n != want {
			t.Errorf("Expire: %d rows, %v; want %d", n, err, want)
		}
	}
	free(floor/2 - 1)
	expire(9, 0)
	if rows, err := s.Due(t.Context(), a.Record.ID.Shard(), store.KindSchedule, time.UnixMicro(1), nil, 9); err != nil || len(rows) > 0 {
		t.Errorf("Due: %d rows, %v", len(rows), err)
	}
	if shards, err := s.DueShards(t.Context(), store.KindSchedule); err != nil || len(shards) != 1 {
		t.Errorf("the due index, which nothing may be removed from, has %d shards, %v", len(shards), err)
	}
	free(floor - 1)
	expire(1, 1)
	free(floor)
	expire(9, 1)
	expire(9, 0)
}

// TestP10_ASlowSyncHoldsAnswersBackAndNothingElse holds a sync of the log.
func TestP10_ASlowSyncHoldsAnswersBackAndNothingElse(t *testing.T) {
	t.Parallel()
	var slow atomic.Bool
	reached, release := make(chan struct{}), make(chan struct{})
	opts := small()
	opts.FS = faultFS(vfs.NewMem(), func(op errorfs.Op) error {
		if isLog(op) && isSync(op) && slow.CompareAndSwap(true, false) {
			close(reached)
			<-release
		}
		return nil
	})
	s := openDir(t, "store", opts)
	defer func() { closeStore(t, s) }()
	a := newActor("a")
	commit(t, s, a)
	slow.Store(true)
	update := nextTurn(a)
	pending, settled := s.Commit(t.Context(), []*store.Write{update}), make(chan struct{})
	go func() { pending.Wait(); close(settled) }()
	<-reached
	other := newActor("b")
	later := s.Commit(t.Context(), []*store.Write{other}) // returns though nothing can be synced
	if r, err := s.Load(t.Context(), a.Record.Address); err != nil || r.Revision != 2 {
		t.Errorf("Load beside a slow sync: revision %d, %v", r.Revision, err)
	}
	select {
	case <-settled:
		t.Error("a commit settled before its sync")
	default:
	}
	close(release)
	<-settled
	later.Wait()
	if err := errors.Join(update.Err, other.Err); err != nil {
		t.Error(err)
	}
}
