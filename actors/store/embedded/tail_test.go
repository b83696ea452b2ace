// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/troupe-dev/troupe/actors/store"
)

// logChunk is a whole batch with its mark, as the engine writes it.
func logChunk(number, synced uint64, rest string) []byte {
	b := make([]byte, logHeader+12, 128)
	b[6] = chunkFull
	binary.LittleEndian.PutUint32(b[7:], 4)
	b = append(b, byte(pebble.InternalKeyKindLogData), markSize)
	b = binary.BigEndian.AppendUint32(b, markMagic)
	b = binary.BigEndian.AppendUint64(b, number)
	b = binary.BigEndian.AppendUint64(b, synced)
	b = append(b, rest...)
	binary.LittleEndian.PutUint16(b[4:], uint16(len(b)-logHeader))
	binary.LittleEndian.PutUint32(b, bits.RotateLeft32(crc32.Checksum(b[6:], castagnoli), 17)+0xa282ead8)
	return b
}

func damaged(chunk []byte) []byte {
	chunk = bytes.Clone(chunk)
	chunk[len(chunk)-1] ^= 1
	return chunk
}

// TestP14_DamageAndTornEnds tells them apart by the marks behind them.
func TestP14_DamageAndTornEnds(t *testing.T) {
	t.Parallel()
	one, two, three := logChunk(1, 0, "one"), logChunk(2, 1, "two"), logChunk(3, 1, "three")
	for name, c := range map[string]struct {
		log  [][]byte
		want bool
	}{
		"nothing":                             {nil, false},
		"sound":                               {[][]byte{one, two, three}, false},
		"the last batch":                      {[][]byte{one, damaged(two)}, false},
		"a batch that was not synced yet":     {[][]byte{one, damaged(two), three}, false},
		"a batch that a later one covers":     {[][]byte{one, damaged(two), logChunk(3, 2, "")}, true},
		"one that a much later one covers":    {[][]byte{one, damaged(two), damaged(three), logChunk(4, 1, ""), logChunk(5, 3, "")}, true},
		"the first":                           {[][]byte{damaged(one), logChunk(2, 1, "")}, true},
		"the first, which was not synced yet": {[][]byte{damaged(one), logChunk(2, 0, "")}, false},
		"a length":                            {[][]byte{one, append([]byte{0, 0, 0, 0, 0xff, 0xff}, two[6:]...), logChunk(3, 2, "")}, true},
		"a log before it in the same file":    {[][]byte{one, {0}, bytes.Replace(logChunk(9, 8, ""), []byte{chunkFull, 4}, []byte{chunkFull, 3}, 1)}, false},
	} {
		check := logCheck{number: 4}
		got, err := check.read(bytes.NewReader(bytes.Join(c.log, nil)))
		if err != nil || got != c.want {
			t.Errorf("%s: damaged is %v, %v, want %v", name, got, err, c.want)
		}
	}
}

// TestEveryBatchOfACompactionHasItsMark reads the log that a compaction ends first.
func TestEveryBatchOfACompactionHasItsMark(t *testing.T) {
	t.Parallel()
	disk := vfs.NewCrashableMem()
	var compacting atomic.Bool
	var crashed *vfs.MemFS // when that log had ended
	watched := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".log") && compacting.CompareAndSwap(true, false) {
			crashed = disk.CrashClone(vfs.CrashCloneCfg{})
		}
		return nil
	}))
	s, err := Open("store", Options{FS: watched})
	if err != nil {
		t.Fatal(err)
	}
	addr := store.Address{Namespace: "acme", Type: "shop.v1.Cart", Key: "a"}
	w := &store.Write{Op: store.OpCreate, Record: store.Record{Address: addr, ID: store.NewID(store.ShardOf(addr, store.DefaultShards)), Revision: 1}}
	s.Commit(t.Context(), []*store.Write{w}).Wait()
	compacting.Store(true)
	if err := errors.Join(w.Err, s.Compact(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := crashed.List("store")
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".log") })
	f, err := crashed.Open(crashed.PathJoin("store", slices.Max(names)))
	if err != nil {
		t.Fatal(err)
	}
	log, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	check := logCheck{number: binary.LittleEndian.Uint32(log[7:])}
	batches := uint64(0)
	for size, ok := check.chunkAt(log); ok; size, ok = check.chunkAt(log) {
		batches++
		if n, _, ok := markOf(log[:size]); !ok || n != batches {
			t.Errorf("batch %d has the number %d, a mark: %t", batches, n, ok)
		}
		log = log[size:]
	}
	if batches < 2 {
		t.Errorf("the log has %d batches", batches)
	}
}

func FuzzLog(f *testing.F) {
	f.Add(bytes.Join([][]byte{logChunk(1, 0, "a"), logChunk(2, 1, "b")}, nil))
	f.Add(bytes.Join([][]byte{logChunk(1, 0, "a"), damaged(logChunk(2, 1, "b")), logChunk(3, 2, "")}, nil))
	f.Add(make([]byte, logBlock+1))
	f.Fuzz(func(t *testing.T, log []byte) {
		check := logCheck{number: 4}
		if damaged, err := check.read(bytes.NewReader(log)); err != nil {
			t.Errorf("read: %v", err)
		} else if damaged && (check.badAt < 0 || check.badAt >= int64(len(log))) {
			t.Errorf("the damage is at %d of %d", check.badAt, len(log))
		}
	})
}

func FuzzDueKey(f *testing.F) {
	f.Add(appendDueKey(nil, 7, 2, -5, [16]byte{1}, []byte("k")))
	f.Add([]byte{tagDue})
	f.Fuzz(func(t *testing.T, b []byte) {
		due, id, key, ok := parseDueKey(b)
		if ok && !bytes.Equal(appendDueKey(bytes.Clone(b[:0]), binary.BigEndian.Uint16(b[1:]), store.Kind(b[3]), due, id, key)[1:], b[1:]) {
			t.Errorf("%q was read as %d, %s, %q", b, due, id, key)
		}
	})
}
