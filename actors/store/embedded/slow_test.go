// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
)

// TestASlowDiskIsLogged holds the sync of a commit until the log tells of it.
func TestASlowDiskIsLogged(t *testing.T) {
	t.Parallel()
	told := make(chan struct{})
	tell := sync.OnceFunc(func() { close(told) })
	logger := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		if strings.Contains(string(b), "slow disk") && strings.Contains(string(b), ".log") {
			tell()
		}
		return len(b), nil
	}), nil))
	var held atomic.Bool
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			if held.Load() {
				select {
				case <-told:
				case <-time.After(time.Minute):
					t.Error("a minute of waiting for the disk is not in the log")
				}
			}
		}
		return nil
	}))
	s, err := embedded.Open("store", embedded.Options{FS: disk, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	held.Store(true)
	addr := store.Address{Namespace: "acme", Type: "shop.v1.Cart", Key: "a"}
	w := &store.Write{Op: store.OpCreate, Record: store.Record{Address: addr, ID: store.NewID(store.ShardOf(addr, store.DefaultShards)), Revision: 1}}
	s.Commit(t.Context(), []*store.Write{w}).Wait()
	if w.Err != nil {
		t.Error(w.Err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
