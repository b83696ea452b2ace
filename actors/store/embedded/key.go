// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// The keyspace. The first byte of a key says what it leads to:
//
//	a namespace type key     the record
//	d shard kind due id key  a place in the due index, without a value
//	i id                     the address of an incarnation
//	m                        what the store is: see meta
//	r id kind key            a row
//
// Numbers are big-endian and have a fixed width, an id has 16 bytes, and the last
// part takes what is left. Namespace and type are variable and stand before other
// parts; List promises bytewise order of both, which a length in front of them
// would break, so they are escaped: see appendPart.
const (
	tagRecord byte = 'a'
	tagDue    byte = 'd'
	tagID     byte = 'i'
	tagMeta   byte = 'm'
	tagRow    byte = 'r'
)

// dueOffset is where the due time begins in a key of the due index.
const dueOffset = 1 + 2 + 1

// afterKinds is greater than the kind of any row.
const afterKinds = 0xff

// A part ends with partEnd; a zero byte inside it is followed by partZero, so
// that "a" sorts before "a\x00" and both before "a\x01".
const (
	partEnd  byte = 0x01
	partZero byte = 0xff
)

// appendPart adds a variable part that other parts follow, keeping bytewise order.
func appendPart(b []byte, part string) []byte {
	for {
		i := strings.IndexByte(part, 0)
		if i < 0 {
			b = append(b, part...)
			return append(b, 0, partEnd)
		}
		b = append(b, part[:i]...)
		b = append(b, 0, partZero)
		part = part[i+1:]
	}
}

// cutPart is the inverse of appendPart; it returns what follows the part as well.
func cutPart(b []byte) (part string, rest []byte, ok bool) {
	var unescaped []byte
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 || i+1 == len(b) {
			return "", nil, false
		}
		end := b[i+1] == partEnd
		if !end && b[i+1] != partZero {
			return "", nil, false
		}
		if end && unescaped == nil {
			return string(b[:i]), b[i+2:], true
		}
		unescaped = append(unescaped, b[:i]...)
		if end {
			return string(unescaped), b[i+2:], true
		}
		unescaped = append(unescaped, 0)
		b = b[i+2:]
	}
}

func appendRecordKey(b []byte, addr store.Address) []byte {
	b = append(b, tagRecord)
	b = appendPart(b, addr.Namespace)
	b = appendPart(b, addr.Type)
	return append(b, addr.Key...)
}

func parseRecordKey(b []byte) (addr store.Address, ok bool) {
	if len(b) == 0 || b[0] != tagRecord {
		return addr, false
	}
	if addr.Namespace, b, ok = cutPart(b[1:]); !ok {
		return addr, false
	}
	if addr.Type, b, ok = cutPart(b); !ok {
		return addr, false
	}
	addr.Key = string(b)
	return addr, true
}

func appendIDKey(b []byte, id store.ID) []byte {
	b = append(b, tagID)
	return append(b, id[:]...)
}

// appendRowKey begins with the prefix that all rows of the actor share, and is
// itself the prefix of all rows of one kind when key is empty.
func appendRowKey(b []byte, id store.ID, kind store.Kind, key []byte) []byte {
	b = append(b, tagRow)
	b = append(b, id[:]...)
	b = append(b, byte(kind))
	return append(b, key...)
}

// rowOffset is where the row's own key begins in a key made by appendRowKey.
const rowOffset = 1 + len(store.ID{}) + 1

func appendDueKey(b []byte, shard uint16, kind store.Kind, due int64, id store.ID, key []byte) []byte {
	b = appendDueTime(b, shard, kind, due)
	b = append(b, id[:]...)
	return append(b, key...)
}

func appendDueTime(b []byte, shard uint16, kind store.Kind, due int64) []byte {
	b = append(b, tagDue)
	b = binary.BigEndian.AppendUint16(b, shard)
	b = append(b, byte(kind))
	return binary.BigEndian.AppendUint64(b, sortable(due))
}

// parseDueKey returns the parts that follow shard and kind. The key is not copied.
func parseDueKey(b []byte) (due int64, id store.ID, key []byte, ok bool) {
	if len(b) < dueOffset+8+len(id) {
		return 0, id, nil, false
	}
	due = unsortable(binary.BigEndian.Uint64(b[dueOffset:]))
	b = b[dueOffset+8:]
	copy(id[:], b)
	return due, id, b[len(id):], true
}

// sortable maps a signed number to one that sorts the same way as big-endian bytes.
func sortable(n int64) uint64 { return uint64(n) ^ 1<<63 }

func unsortable(n uint64) int64 { return int64(n ^ 1<<63) }

// micros is a due time as stored: microseconds since 1970, rounded down.
func micros(t time.Time) int64 { return t.UnixMicro() }

// prefixEnd returns the first key past all keys that begin with prefix, or nil if
// there is none. It changes and may return prefix itself.
func prefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			prefix[i]++
			return prefix[:i+1]
		}
	}
	return nil
}
