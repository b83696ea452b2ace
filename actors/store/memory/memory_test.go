// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

func open(testing.TB) store.Store { return memory.New(memory.Options{}) }

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.RunTarget(t, storetest.Target{
		Open: open,
		Reopen: func(t testing.TB, s store.Store) store.Store {
			t.Helper()
			return s.(*memory.Store).Reopen()
		},
		Damage: func(t testing.TB, s store.Store, addr store.Address) store.Store {
			t.Helper()
			s.(*memory.Store).Damage(addr, func(r *store.Record) { r.State[0] ^= 4 })
			return s
		},
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	got := memory.New(memory.Options{Shards: 3, Generation: 9}).Info()
	if want := (store.Info{Format: 1, Generation: 9, Shards: 3}); got != want {
		t.Errorf("Info is %+v, want %+v", got, want)
	}
	if got := memory.New(memory.Options{}).Info().Shards; got != store.DefaultShards {
		t.Errorf("a store without options has %d shards", got)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w := &store.Write{Op: store.OpCreate, Record: store.Record{Address: store.Address{Namespace: "n", Type: "t"}, ID: store.NewID(0)}}
	s.Commit(t.Context(), []*store.Write{w}).Wait()
	if w.Err == nil {
		t.Error("a closed store took a write")
	}
	if _, err := s.Load(t.Context(), w.Record.Address); err == nil {
		t.Error("a closed store was read")
	}
}

func BenchmarkStore(b *testing.B) { storetest.Bench(b, open) }
