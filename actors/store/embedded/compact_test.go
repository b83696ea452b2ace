// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
)

// marked is how many actors of each sort the test has.
const marked = 150

// TestP45_AfterCompactNoByteOfTheOldDataIsLeft looks for the bytes of destroyed
// actors, replaced states and deleted rows in every file of the store. They lie
// between others that stay.
func TestP45_AfterCompactNoByteOfTheOldDataIsLeft(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]embedded.Options{
		"values apart": small(),
		"inline":       {CacheBytes: 1 << 20, MemtableBytes: 256 << 10, InlineValues: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := openDir(t, dir, opts)
			old, kept := rand.Text(), rand.Text() // nothing that a compression shortens
			records := make([]store.Record, 2*marked)
			for n := range records {
				text := old
				if n%2 == 1 {
					text = kept
				}
				records[n] = store.Record{
					Address:  store.Address{Namespace: "default", Type: "t", Key: fmt.Sprintf("%d-%s", n, text)},
					ID:       store.NewID(uint16(n % 7)),
					Revision: 1, State: padded(text), CreatedAt: time.Now(),
				}
				write := &store.Write{Op: store.OpCreate, Record: records[n]}
				for kind := store.KindKV; kind <= store.KindIdempotency; kind++ {
					write.Rows = append(write.Rows, store.RowWrite{Kind: kind, Op: store.RowPut,
						Row: store.Row{Key: []byte("row-" + text), Value: padded(text), Due: time.Now()}})
				}
				commit(t, s, write)
			}
			for n := 1; n < len(records); n += 2 { // states that are replaced
				r := records[n]
				r.Revision, r.State = 2, padded(old)
				commit(t, s, &store.Write{Expect: 1, Record: r})
				r.Revision, r.State = 3, padded(kept)
				commit(t, s, &store.Write{Expect: 2, Record: r})
			}
			for n := 0; n < len(records); n += 2 {
				commit(t, s, &store.Write{Op: store.OpDestroy, Expect: 1, Record: records[n]})
			}
			if found := grep(t, dir, old); len(found) == 0 {
				t.Fatal("the test does not see the bytes before the compaction")
			}
			if err := s.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, file := range grep(t, dir, old) {
				if filepath.Base(file)[:3] != "MAN" { // see Compact
					t.Errorf("%s has old bytes", file)
				}
			}
			if found := grep(t, dir, kept); len(found) == 0 {
				t.Error("the test does not see the bytes that stay")
			}
			for n := 1; n < len(records); n += 2 {
				r, err := s.Load(t.Context(), records[n].Address)
				if err != nil || !bytes.Equal(r.State, padded(kept)) {
					t.Fatalf("Load after the compaction: %v", err)
				}
			}
			closeStore(t, s)
			for range 2 {
				closeStore(t, openDir(t, dir, opts))
			}
			if found := grep(t, dir, old); len(found) > 0 {
				t.Errorf("%v have old bytes after the store was opened again", found)
			}
		})
	}
}

func padded(text string) []byte {
	return append([]byte(text), make([]byte, 1<<10)...)
}

// grep returns the files below dir that hold text.
func grep(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // removed meanwhile
		} else if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(text)) {
			found = append(found, file)
		}
	}
	return found
}
