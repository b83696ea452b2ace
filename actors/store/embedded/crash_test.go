// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

// The test binary is its own victim: with childDir set it keeps the store there busy
// and prints each batch that is acknowledged, until it is killed.
const (
	childDir   = "TROUPE_STORE_CHILD_DIR"
	childFault = "TROUPE_STORE_CHILD_FAULT" // syncs of the log fail after that many
	childCall  = "TROUPE_STORE_CHILD_CALL"  // this call of the disk fails, and the child ends by itself
	childErrno = "TROUPE_STORE_CHILD_ERRNO" // with that error

	childBatches = 200 // how many it writes before it does

	childFailed = 3 // its status when a write failed and the store did not end it

	// endsWithin is how long a store whose log failed may take to end its process.
	endsWithin = 10 * time.Second
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(childFailed)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(dir string) error {
	opts := small()
	if after := os.Getenv(childFault); after != "" {
		n, err := strconv.ParseInt(after, 10, 64)
		if err != nil {
			return err
		}
		opts.FS = failingSyncs(vfs.Default, n)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	last := uint64(0)
	if call := os.Getenv(childCall); call != "" {
		n, err := strconv.ParseInt(call, 10, 64)
		errno, errnoErr := strconv.Atoi(os.Getenv(childErrno))
		if err := errors.Join(err, errnoErr); err != nil {
			return err
		}
		opts.MemtableBytes = 64 << 10
		opts.FS = failingCall(vfs.Default, n, syscall.Errno(errno))
		last = childBatches
	}
	s, err := embedded.Open(dir, opts)
	if err != nil {
		return err
	}
	load := &storetest.Load{Store: s, Ack: func(batch uint64) {
		_, _ = fmt.Fprintln(os.Stdout, batch)
		if batch == last {
			stop()
		}
	}}
	err = errors.Join(load.Run(ctx), s.Close())
	if os.Getenv(childFault) != "" {
		<-time.After(endsWithin) // the store is to end the process, and a write may fail before it does
	}
	return err
}

// failingSyncs fails every sync of a log after n of them have succeeded.
func failingSyncs(fs vfs.FS, n int64) vfs.FS {
	var syncs atomic.Int64
	faults := errorfs.InjectorFunc(func(op errorfs.Op) error {
		isLog := strings.HasSuffix(op.Path, ".log") || op.Path == recycled
		if isLog && (op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync) && syncs.Add(1) > n {
			return errors.New("injected: input/output error")
		}
		return nil
	})
	return recyclingFS{errorfs.Wrap(fs, faults), faults}
}

// recyclingFS injects faults into recycled logs too, which errorfs lets go. Their
// path is not known to the injector.
type recyclingFS struct {
	*errorfs.FS
	faults errorfs.Injector
}

const recycled = ""

// ReuseForWrite implements vfs.FS.
func (r recyclingFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := r.FS.ReuseForWrite(oldname, newname, category)
	if err != nil {
		return nil, err
	}
	return errorfs.WrapFile(f, r.faults), nil
}

// startChild runs the load in another process. Acknowledged batches arrive on the
// reader, which ends with the process.
func startChild(t *testing.T, dir string, env ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(append(os.Environ(), childDir+"="+dir), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(out)
}

// readAck returns the next acknowledged batch, or 0 when there is none any more.
// A line that the kill has cut does not count.
func readAck(t *testing.T, out *bufio.Reader) uint64 {
	t.Helper()
	line, err := out.ReadString('\n')
	if errors.Is(err, io.EOF) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(line), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestP11_Kill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 8 {
		cmd, out := startChild(t, dir)
		var acked uint64
		for range 1 + 40*round {
			if n := readAck(t, out); n > 0 {
				acked = n
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for n := readAck(t, out); n > 0; n = readAck(t, out) {
			acked = n
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the child was not killed: %v", cmd.ProcessState)
		}
		if acked == 0 {
			t.Fatal("nothing was acknowledged")
		}
		s := openDir(t, dir, small())
		storetest.CheckLoad(t, s, acked, true)
		closeStore(t, s)
	}
}

// TestP13_AFailedSyncEndsTheProcess has the disk refuse a sync: the process is ended,
// and what it has acknowledged before is there. The store ends it with status 1; with
// 2, that of a panic, the engine does, if the sync was to close a full log.
func TestP13_AFailedSyncEndsTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	closeStore(t, openDir(t, dir, small()))
	cmd, out := startChild(t, dir, childFault+"=50")
	var acked uint64
	for n := readAck(t, out); n > 0; n = readAck(t, out) {
		acked = n
	}
	_ = cmd.Wait() // the status is looked at instead
	if got := cmd.ProcessState.ExitCode(); got != 1 && got != 2 {
		t.Errorf("exit status %d, want 1 or 2", got)
	}
	if acked == 0 {
		t.Error("nothing was acknowledged before")
	}
	s := openDir(t, dir, small())
	storetest.CheckLoad(t, s, acked, true)
	closeStore(t, s)
}

// TestP13_NothingIsWrittenAfterAFailure replaces the end of the process, to look at what is left of the store.
func TestP13_NothingIsWrittenAfterAFailure(t *testing.T) {
	t.Parallel()
	var fatal atomic.Int32
	opts := small()
	opts.FS = failingSyncs(vfs.NewMem(), 20)
	opts.Fatal = func(err error) {
		if err == nil {
			t.Error("Fatal without an error")
		}
		fatal.Add(1)
	}
	s := openDir(t, "store", opts)
	w := newActor("a")
	for range 40 {
		s.Commit(t.Context(), []*store.Write{w}).Wait()
		if w.Err != nil {
			break
		}
		w = nextTurn(w)
	}
	if !errors.Is(w.Err, store.ErrUnknown) {
		t.Errorf("the write whose sync failed: %v, want ErrUnknown", w.Err)
	}
	later := newActor("b")
	s.Commit(t.Context(), []*store.Write{later}).Wait()
	if later.Err == nil || errors.Is(later.Err, store.ErrUnknown) {
		t.Errorf("a later write: %v, want a definite refusal", later.Err)
	}
	if _, err := s.Load(t.Context(), later.Record.Address); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the refused write is there: %v", err)
	}
	if got := fatal.Load(); got != 1 {
		t.Errorf("Fatal was called %d times", got)
	}
	if err := s.Close(); err == nil {
		t.Error("Close reports no failure")
	}
}

func newActor(key string) *store.Write {
	addr := store.Address{Namespace: "acme", Type: "shop.v1.Cart", Key: key}
	return &store.Write{
		Op: store.OpCreate,
		Record: store.Record{
			Address: addr, ID: store.NewID(store.ShardOf(addr, store.DefaultShards)),
			Revision: 1, State: []byte("state of " + key),
		},
	}
}

// nextTurn returns an update that follows w.
func nextTurn(w *store.Write) *store.Write {
	update := &store.Write{Op: store.OpUpdate, Expect: w.Record.Revision, Record: w.Record}
	update.Record.Revision++
	return update
}

// crash copies the disk of s as after a power cut.
func (d *disks) crash(s store.Store) *vfs.MemFS {
	return d.get(s).CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: 50,
		RNG:                 rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	})
}
