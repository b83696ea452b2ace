// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
)

func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openDir(t, dir, small())
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, dir + "/../" + filepath.Base(dir), link} {
		_, err := embedded.Open(name, small())
		if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), filepath.Base(dir)) {
			t.Errorf("second Open of %s: %v, want ErrLocked with the directory", name, err)
		}
	}
	commit(t, s, newActor("a")) // and the first goes on
	closeStore(t, s)

	closeStore(t, openDir(t, dir, small())) // the lock is free again
}

// TestLockOfANewDirectory opens a store by a name with a link in it, twice, when its directory
// is not there at first.
func TestLockOfANewDirectory(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(link, "new")
	s := openDir(t, dir, small())
	second, err := embedded.Open(dir, small())
	if err == nil {
		closeStore(t, second)
	}
	if !errors.Is(err, store.ErrLocked) {
		t.Errorf("second Open: %v, want ErrLocked", err)
	}
	commit(t, s, newActor("a"))
	closeStore(t, s)
}

func TestLockOfAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, out := startChild(t, dir)
	readAck(t, out) // it has the store open
	_, err := embedded.Open(dir, small())
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), filepath.Base(dir)) {
		t.Errorf("Open beside another process: %v, want ErrLocked with the directory", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed

	closeStore(t, openDir(t, dir, small())) // the lock went with its process
}

func TestLockInMemory(t *testing.T) {
	t.Parallel()
	opts := small()
	opts.FS = vfs.NewMem()
	s := openDir(t, "x", opts)
	defer func() { closeStore(t, s) }()
	if _, err := embedded.Open("x", opts); !errors.Is(err, store.ErrLocked) {
		t.Errorf("second Open: %v, want ErrLocked", err)
	}
}

func commit(t *testing.T, s store.Store, writes ...*store.Write) {
	t.Helper()
	s.Commit(t.Context(), writes).Wait()
	for _, w := range writes {
		if w.Err != nil {
			t.Fatalf("write of %s: %v", w.Record.Key, w.Err)
		}
	}
}

func TestPrivateFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "store")
	s := openDir(t, dir, small())
	big := newActor("big")
	big.Record.State = make([]byte, 1<<20)
	commit(t, s, big)
	closeStore(t, s)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", path, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, err := embedded.Open(dir, small()); err == nil || errors.Is(err, store.ErrLocked) {
			t.Errorf("Open of %s: %v, want an error that is not about locks", dir, err)
		}
	}
}

func TestShards(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := small()
	opts.Shards = 16
	s := openDir(t, dir, opts)
	info := s.Info()
	if info.Shards != 16 {
		t.Errorf("a new store has %d shards, want 16", info.Shards)
	}
	closeStore(t, s)

	opts.Shards = 32
	_, err := embedded.Open(dir, opts)
	if !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), "16 shards") {
		t.Errorf("Open with another number of shards: %v", err)
	}
	for _, opts.Shards = range []uint16{0, 16} {
		s := openDir(t, dir, opts)
		if got := s.Info(); got != info {
			t.Errorf("opened with %d shards the store is %+v, want %+v", opts.Shards, got, info)
		}
		closeStore(t, s)
	}

	other := openDir(t, t.TempDir(), small())
	defer func() { closeStore(t, other) }()
	if got := other.Info(); got.Shards != store.DefaultShards || got.Generation == info.Generation {
		t.Errorf("another new store is %+v, the first was %+v", got, info)
	}
}

// TestForeignDatabase opens databases that this package did not make.
func TestForeignDatabase(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"another layout": "x", "no key": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fsys := vfs.NewMem()
			db, err := pebble.Open("store", &pebble.Options{FS: fsys})
			if err != nil {
				t.Fatal(err)
			}
			if key != "" {
				if err := db.Set([]byte(key), nil, pebble.Sync); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			opts := small()
			opts.FS = fsys
			s, err := embedded.Open("store", opts)
			if key == "" { // what a crash at the very first start may leave
				if err != nil {
					t.Fatalf("Open of an empty database: %v", err)
				}
				closeStore(t, s)
				return
			}
			if !errors.Is(err, store.ErrFormat) {
				t.Fatalf("Open: %v, want ErrFormat", err)
			}
			// The refusal left it whole and unlocked.
			db, err = pebble.Open("store", &pebble.Options{FS: fsys, FormatMajorVersion: pebble.FormatNewest})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
