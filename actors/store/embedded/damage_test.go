// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
)

// alter opens the database below a closed store and rewrites every value with the
// given first byte of its key.
func alter(t *testing.T, fsys vfs.FS, tag byte, change func(value []byte) []byte) {
	t.Helper()
	alterRange(t, fsys, "store", []byte{tag}, []byte{tag + 1}, change)
}

// damage changes a bit of the state of a closed store's record.
func damage(t testing.TB, fsys vfs.FS, dir string, addr store.Address) {
	t.Helper()
	key := []byte("a" + addr.Namespace + "\x00\x01" + addr.Type + "\x00\x01" + addr.Key)
	alterRange(t, fsys, dir, key, append(bytes.Clone(key), 0), func(v []byte) []byte { v[len(v)-1] ^= 4; return v })
}

func alterRange(t testing.TB, fsys vfs.FS, dir string, from, to []byte, change func(value []byte) []byte) {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{FS: fsys, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	iter, err := db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ok := iter.First(); ok; ok = iter.Next() {
		n++
		if err := db.Set(iter.Key(), change(bytes.Clone(iter.Value())), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := iter.Close(); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Fatalf("there is no key from %q to %q", from, to)
	}
}

// TestP14_DamagedValues changes stored values in a way that the engine cannot notice.
func TestP14_DamagedValues(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	damages := map[string]func([]byte) []byte{
		"flipped bit": func(v []byte) []byte { v[len(v)-1] ^= 4; return v },
		"cut":         func(v []byte) []byte { return v[:len(v)-1] },
		"empty":       func([]byte) []byte { return nil },
		"version":     func(v []byte) []byte { v[0]++; return v },
		"longer":      func(v []byte) []byte { return append(v, 0) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := small()
			opts.FS = vfs.NewMem()
			s := openDir(t, "store", opts)
			w := newActor("a")
			w.Rows = []store.RowWrite{{
				Kind: store.KindSchedule,
				Row:  store.Row{Key: []byte("k"), Value: []byte("v"), Due: time.Unix(1, 0)},
			}}
			commit(t, s, w)
			closeStore(t, s)

			id, addr := w.Record.ID, w.Record.Address
			check := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("%s: %v, want ErrCorrupt", what, err)
				}
			}
			alter(t, opts.FS, 'r', damage)
			alter(t, opts.FS, 'i', damage)
			s = openDir(t, "store", opts)
			// One of another actor, in the same shard.
			other := newActor("other")
			other.Record.ID = store.NewID(id.Shard())
			other.Rows = []store.RowWrite{{
				Kind: store.KindSchedule,
				Row:  store.Row{Key: []byte("k"), Value: []byte("sound"), Due: time.Unix(2, 0)},
			}}
			commit(t, s, other)
			_, err := s.Scan(ctx, id, store.KindSchedule, store.Range{})
			check("Scan", err)
			due, err := s.Due(ctx, id.Shard(), store.KindSchedule, time.Unix(9, 0), nil, 9)
			if err != nil || len(due) != 2 || !due[0].Damaged || due[0].ID != id || string(due[0].Key) != "k" || due[0].Value != nil ||
				!due[0].Due.Equal(time.Unix(1, 0)) || due[1].Damaged || string(due[1].Value) != "sound" {
				t.Errorf("Due: %+v, %v", due, err)
			}
			_, err = s.LoadID(ctx, id)
			check("LoadID", err)
			if got, err := s.Load(ctx, addr); err != nil || got.ID != id {
				t.Errorf("Load of the sound record: %v", err)
			}
			if n, err := s.Expire(ctx, id.Shard(), store.KindSchedule, time.Unix(9, 0), 9); err != nil || n != 2 {
				t.Errorf("Expire: %d, %v", n, err)
			}
			end := &store.Write{Op: store.OpDestroy, Expect: 1, Record: other.Record}
			commit(t, s, end)
			closeStore(t, s)

			alter(t, opts.FS, 'a', damage)
			s = openDir(t, "store", opts)
			_, err = s.Load(ctx, addr)
			check("Load", err)
			listed, err := s.List(ctx, store.ListQuery{Namespace: addr.Namespace, Limit: 9})
			if err != nil || len(listed) != 1 || listed[0].Address != addr || !listed[0].Damaged {
				t.Errorf("List: %+v, %v", listed, err)
			}
			again, neighbour := newActor("a"), newActor("b")
			end = &store.Write{Op: store.OpDestroy, Expect: 1, Record: w.Record}
			s.Commit(ctx, []*store.Write{again, neighbour}).Wait()
			s.Commit(ctx, []*store.Write{end}).Wait()
			check("create", again.Err)
			check("destroy", end.Err)
			if neighbour.Err != nil {
				t.Errorf("a neighbour in the batch: %v", neighbour.Err)
			}
			_, err = s.Load(ctx, addr)
			check("Load after writes were refused", err)

			left, err := s.Salvage(ctx, addr, store.ID{})
			check("Salvage", err)
			mend := &store.Write{Op: store.OpUpdate, Mend: true, Expect: left.Revision, Record: w.Record}
			wantID, wantRevision := id, uint64(1)
			if name == "empty" { // and the id's entry is damaged, too
				wantID, wantRevision = store.ID{}, store.UnknownRevision
				mend.Record.ID = store.NewID(id.Shard())
			}
			if !left.Damaged || left.ID != wantID || left.Revision != wantRevision {
				t.Errorf("Salvage gives %+v", left)
			}
			commit(t, s, mend)
			if got, err := s.LoadID(ctx, mend.Record.ID); err != nil || got.Address != addr {
				t.Errorf("LoadID of what was mended: %+v, %v", got, err)
			}
			closeStore(t, s)

			alter(t, opts.FS, 'm', damage)
			_, err = embedded.Open("store", opts)
			check("Open", err)
		})
	}
}

// TestP14_MovedValue puts a sound value under the key of another actor.
func TestP14_MovedValue(t *testing.T) {
	t.Parallel()
	opts := small()
	opts.FS = vfs.NewMem()
	s := openDir(t, "store", opts)
	a, b := newActor("a"), newActor("b")
	commit(t, s, a, b)
	closeStore(t, s)
	var last []byte
	alter(t, opts.FS, 'a', func(v []byte) []byte {
		moved := last
		if last = v; moved == nil {
			return v
		}
		return moved
	})
	s = openDir(t, "store", opts)
	defer func() { closeStore(t, s) }()
	if _, err := s.Load(t.Context(), a.Record.Address); err != nil {
		t.Errorf("Load of the untouched record: %v", err)
	}
	if _, err := s.Load(t.Context(), b.Record.Address); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Load of the moved value: %v, want ErrCorrupt", err)
	}
	// It names the other actor; the ids know better.
	if left, err := s.Salvage(t.Context(), b.Record.Address, store.ID{}); !errors.Is(err, store.ErrCorrupt) || left.ID != b.Record.ID {
		t.Errorf("Salvage of the moved value: %v, %v; want %v", left.ID, err, b.Record.ID)
	}
}

// TestP14_DamagedID damages what an id leads to: the record can be read by its address
// and is mended by whoever salvages it.
func TestP14_DamagedID(t *testing.T) {
	t.Parallel()
	ctx, opts := t.Context(), small()
	opts.FS = vfs.NewMem()
	s := openDir(t, "store", opts)
	w := newActor("a")
	commit(t, s, w)
	closeStore(t, s)
	alter(t, opts.FS, 'i', func(v []byte) []byte { return v[:1] })
	s = openDir(t, "store", opts)
	defer func() { closeStore(t, s) }()
	left, err := s.Salvage(ctx, w.Record.Address, store.ID{})
	if !errors.Is(err, store.ErrCorrupt) || !left.Damaged || left.ID != w.Record.ID || left.Revision != 1 || !bytes.Equal(left.State, w.Record.State) {
		t.Errorf("Salvage: %+v, %v", left, err)
	}
	if _, err := s.Salvage(ctx, store.Address{}, w.Record.ID); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Salvage by id: %v, want ErrCorrupt", err)
	}
	commit(t, s, &store.Write{Op: store.OpUpdate, Mend: true, Expect: 1, Record: left})
	if got, err := s.LoadID(ctx, w.Record.ID); err != nil || got.Damaged {
		t.Errorf("LoadID of what was mended: %+v, %v", got, err)
	}
}

func TestNewerLayout(t *testing.T) {
	t.Parallel()
	for name, meta := range map[string]string{
		// Version 1, checksum, then layout, generation, shards and hash.
		"layout": "\x00\x00\x00\x03" + "12345678" + "\x10\x00" + "fnv1a64",
		"hash":   "\x00\x00\x00\x02" + "12345678" + "\x10\x00" + "siphash",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := small()
			opts.FS = vfs.NewMem()
			closeStore(t, openDir(t, "store", opts))
			alter(t, opts.FS, 'm', func([]byte) []byte { return sealed("m", meta) })
			_, err := embedded.Open("store", opts)
			if !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), "run the ") {
				t.Errorf("Open: %v, want ErrFormat and what to do", err)
			}
		})
	}
}

// sealed makes a stored value that is sound as far as the checksum goes.
func sealed(key, body string) []byte {
	sum := crc32.Checksum([]byte(key+body), crc32.MakeTable(crc32.Castagnoli))
	return append(binary.BigEndian.AppendUint32([]byte{1}, sum), body...)
}
