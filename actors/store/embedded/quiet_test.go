// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
)

// TestP14_TheLastBatchOfAStoreAtRest holds that damage to the very last batch is found
// after a crash, once the store has been at rest for a moment.
func TestP14_TheLastBatchOfAStoreAtRest(t *testing.T) {
	t.Parallel()
	disk := vfs.NewCrashableMem()
	s, err := embedded.Open("store", embedded.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	commit(t, s, newActor("first"))
	commit(t, s, newActor("the last one"))
	marker := []byte("state of the last one")
	deadline := time.Now().Add(30 * time.Second)
	for {
		crashed := disk.CrashClone(vfs.CrashCloneCfg{})
		name, content := logWith(t, crashed, marker)
		// What stands behind the batch is a mark, once it is there.
		if !bytes.Contains(content[bytes.LastIndex(content, marker):], []byte("\x7fTro")) {
			if time.Now().After(deadline) {
				t.Fatal("no mark was written")
			}
			<-time.After(10 * time.Millisecond)
			continue
		}
		content[bytes.LastIndex(content, marker)] ^= 1
		err := reopen(t, crashed, name, content)
		if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("the damaged last batch passes for a torn end: %v", err)
		}
		return
	}
}

// reopen opens the store with another content of its log, and closes it if that goes well.
func reopen(t *testing.T, disk *vfs.MemFS, log string, content []byte) error {
	t.Helper()
	f, err := disk.Create(log, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := embedded.Open("store", embedded.Options{FS: disk})
	if err == nil {
		closeStore(t, s)
	}
	return err
}

// logWith returns the log that holds some bytes, and its name.
func logWith(t *testing.T, disk *vfs.MemFS, marker []byte) (string, []byte) {
	t.Helper()
	names, err := disk.List("store")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		path := disk.PathJoin("store", name)
		f, err := disk.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, marker) {
			return path, content
		}
	}
	t.Fatalf("no log holds %q", marker)
	return "", nil
}
