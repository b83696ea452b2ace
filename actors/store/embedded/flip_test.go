// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
)

// TestP14_FlippedBits flips single bits in the files of a store, which must then either
// refuse to open as corrupt, or serve each actor right or as corrupt. (A bit may also
// not matter at all, in space that is not in use.)
func TestP14_FlippedBits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openDir(t, dir, small())
	var actors []*store.Write
	for i := range 200 {
		w := newActor(strings.Repeat("k", i%7) + string(rune('A'+i)))
		w.Record.State = bytes.Repeat([]byte{byte(i)}, 20+i*11)
		w.Rows = []store.RowWrite{{Kind: store.KindKV, Row: store.Row{Key: []byte("k"), Value: []byte{byte(i)}}}}
		actors = append(actors, w)
	}
	commit(t, s, actors...)
	closeStore(t, s)
	// Opening it again moves what is in the log into tables.
	closeStore(t, openDir(t, dir, small()))

	random := rand.New(rand.NewPCG(1, 2))
	var files []string
	for _, pattern := range []string{"*.sst", "*.blob"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 2 {
		t.Fatalf("%d tables and value files", len(files))
	}
	noticed := 0
	for round := range 40 {
		if !flipAndRead(t, dir, files[round%len(files)], random, actors) {
			noticed++
		}
	}
	if noticed < 10 {
		t.Errorf("only %d of 40 flipped bits were noticed", noticed)
	}
}

// TestP14_FlippedLog flips bits in the log that a crash or a stop has left: what was
// acknowledged is served or the store does not open. After a crash the last batch is
// left out: damage of it cannot be told from a torn end.
func TestP14_FlippedLog(t *testing.T) {
	t.Parallel()
	for name, batch := range map[string]int{"small batches": 1, "batches longer than a block": 300} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := vfs.NewCrashableMem()
			s, err := embedded.Open("store", embedded.Options{FS: disk})
			if err != nil {
				t.Fatal(err)
			}
			var actors []*store.Write
			for len(actors) < 3000 {
				var writes []*store.Write
				for range batch {
					w := newActor(strings.Repeat("k", len(actors)%7) + string(rune('A'+len(actors))))
					actors, writes = append(actors, w), append(writes, w)
				}
				commit(t, s, writes...)
			}
			crashed := disk.CrashClone(vfs.CrashCloneCfg{})
			closeStore(t, s)
			random := rand.New(rand.NewPCG(3, uint64(batch)))
			flipLogs(t, crashed, random, actors, 150*batch+100)
			flipLogs(t, disk, random, actors, 40) // a mark and the end's own
		})
	}
}

// TestP14_DamageBehindWhatHasExpired damages the batch behind those that remove rows which
// are over, of which there are more than batches behind it.
func TestP14_DamageBehindWhatHasExpired(t *testing.T) {
	t.Parallel()
	disk := vfs.NewCrashableMem()
	s, err := embedded.Open("store", embedded.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	due := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	a := newActor("a")
	for i := range 256 {
		row := store.Row{Key: []byte{byte(i)}, Due: due}
		a.Rows = append(a.Rows, store.RowWrite{Kind: store.KindIdempotency, Row: row})
	}
	commit(t, s, a)
	if n, err := s.Expire(t.Context(), a.Record.ID.Shard(), store.KindIdempotency, due, len(a.Rows)); n != len(a.Rows) || err != nil {
		t.Fatalf("%d rows were over, %v", n, err)
	}
	commit(t, s, newActor("acknowledged"))
	commit(t, s, newActor("the last one"))
	crashed := disk.CrashClone(vfs.CrashCloneCfg{})
	marker := []byte("state of acknowledged")
	log, content := logWith(t, crashed, marker)
	content[bytes.LastIndex(content, marker)] ^= 1
	if err := reopen(t, crashed, log, content); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("an acknowledged batch is damaged: Open: %v, want ErrCorrupt", err)
	}
}

// flipLogs flips bits in the log of a closed store, but not in its last bytes.
func flipLogs(t *testing.T, closed *vfs.MemFS, random *rand.Rand, actors []*store.Write, last int) {
	t.Helper()
	noticed := 0
	for range 20 {
		crashed := closed.CrashClone(vfs.CrashCloneCfg{})
		bit := flipInLog(t, crashed, random, last)
		after, err := embedded.Open("store", embedded.Options{FS: crashed})
		if errors.Is(err, store.ErrCorrupt) {
			noticed++
			continue
		}
		if err != nil {
			t.Fatalf("bit %d: Open: %v, want ErrCorrupt", bit, err)
		}
		for _, w := range actors {
			if r, err := after.Load(t.Context(), w.Record.Address); err != nil || !bytes.Equal(r.State, w.Record.State) {
				t.Fatalf("bit %d: Load of what was durable: %v", bit, err)
			}
		}
		closeStore(t, after)
	}
	if noticed == 0 {
		t.Error("no flipped bit was noticed")
	}
}

// flipInLog flips a bit of the longest log, half the time near its end, but not
// in its last bytes.
func flipInLog(t *testing.T, disk *vfs.MemFS, random *rand.Rand, last int) (bit int) {
	t.Helper()
	names, err := disk.List("store")
	if err != nil {
		t.Fatal(err)
	}
	var log string
	var content []byte
	for _, name := range names {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		f, err := disk.Open(disk.PathJoin("store", name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if len(b) > len(content) {
			log, content = name, b
		}
	}
	const block = 32 << 10
	for len(content) > 0 && content[len(content)-1] == 0 { // space that is not in use yet
		content = content[:len(content)-1]
	}
	if len(content) < 3*block {
		t.Fatalf("the log has %d bytes", len(content))
	}
	first := 0
	if random.IntN(2) == 0 {
		first = len(content) - last - block
	}
	bit = 8*first + random.IntN(8*(len(content)-first-last))
	content[bit/8] ^= 1 << (bit % 8)
	f, err := disk.Create(disk.PathJoin("store", log), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return bit
}

// flipAndRead flips one bit of file for the duration of the call, and reports whether
// everything was served all the same.
func flipAndRead(t *testing.T, dir, file string, random *rand.Rand, actors []*store.Write) (sound bool) {
	t.Helper()
	disk := vfs.NewMem()
	if ok, err := vfs.Clone(vfs.Default, disk, dir, "store"); err != nil || !ok {
		t.Fatalf("clone the store: %v", err)
	}
	name := disk.PathJoin("store", filepath.Base(file))
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bit := random.IntN(8 * len(content))
	content[bit/8] ^= 1 << (bit % 8)
	f, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	opts := small()
	opts.FS = disk
	opts.Fatal = func(err error) { t.Errorf("bit %d of %s ends the process: %v", bit, name, err) }
	s, err := embedded.Open("store", opts)
	if err != nil {
		if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("bit %d of %s: Open: %v, want ErrCorrupt", bit, name, err)
		}
		return false
	}
	defer func() { _ = s.Close() }() // may complain of the damage too
	sound = true
	for _, w := range actors {
		r, err := s.Load(t.Context(), w.Record.Address)
		switch {
		case errors.Is(err, store.ErrCorrupt):
			sound = false
		case err != nil:
			t.Errorf("bit %d of %s: Load: %v", bit, name, err)
		case !bytes.Equal(r.State, w.Record.State) || r.ID != w.Record.ID:
			t.Errorf("bit %d of %s: a damaged record was served", bit, name)
		}
		rows, err := s.Scan(t.Context(), w.Record.ID, store.KindKV, store.Range{})
		switch {
		case errors.Is(err, store.ErrCorrupt):
			sound = false
		case err != nil:
			t.Errorf("bit %d of %s: Scan: %v", bit, name, err)
		case len(rows) != 1 || !bytes.Equal(rows[0].Value, w.Rows[0].Value):
			t.Errorf("bit %d of %s: a damaged row was served", bit, name)
		}
	}
	return sound
}
