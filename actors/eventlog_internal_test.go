// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"bytes"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
)

// FuzzCursor holds that what is accepted is exactly what is made.
func FuzzCursor(f *testing.F) {
	id := store.NewID(3)
	for _, text := range []string{
		cursorText(cursorPrefix(id, 1), 0), cursorText(cursorPrefix(id, 1<<63), 1<<64-1), cursorPrefix(id, 1), id.String(),
		"", "-", "--", "---", id.String() + "-1", id.String() + "--1", id.String() + "-01-1", id.String() + "-1-A", id.String() + "-1-+1",
		id.String() + "-1-3w5e11264sgsg", "not-1-1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		prefix, number, err := parseCursor(text)
		if err == nil && cursorText(prefix, number) != text {
			t.Fatalf("%q is read as %q and %d", text, prefix, number)
		}
		if err != nil && (prefix != "" && number != 0) {
			t.Fatalf("%q is refused and read as %q and %d", text, prefix, number)
		}
	})
}

// FuzzEventLogRow holds that no row is read as another event than the one in it.
func FuzzEventLogRow(f *testing.F) {
	pending := pendingEvent{encoded: append(make([]byte, eventHeadroom), "event"...), field: 2, except: &Conn{id: "conn"}}
	row := pending.row(7, -1, 12)
	f.Add(row.Key, row.Value)
	f.Add([]byte{}, []byte{logVersion})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		event, err := readLogged(store.Row{Key: key, Value: value})
		if err != nil {
			return
		}
		again := pendingEvent{encoded: append(make([]byte, eventHeadroom), event.encoded...), field: event.field}
		if event.except != "" {
			again.except = &Conn{id: event.except}
		}
		if row := again.row(event.number, event.at, event.total); !bytes.Equal(row.Key, key) || !bytes.Equal(row.Value, value) {
			t.Fatalf("%x is read as %+v, whose row is %x", value, event, row.Value)
		}
	})
}
