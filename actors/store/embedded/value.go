// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

// Every value begins with a version byte and the CRC-32C of its key and of what
// follows, so that a value that was damaged, cut or found under another key is
// refused.
const (
	valueVersion byte = 1
	valueHeader       = 1 + 4

	// recordFields is id, revision, state version, event head, creation time,
	// flags;
	// the state follows.
	recordFields = len(store.ID{}) + 8 + 4 + 8 + 8 + 1
)

// recordQuarantined marks a record whose actor must not run.
const recordQuarantined byte = 1

// rowIsDue marks a row whose due time stands before its value.
const rowIsDue byte = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal fills the header of value, whose body is complete.
func seal(key, value []byte) {
	value[0] = valueVersion
	binary.BigEndian.PutUint32(value[1:], checksum(key, value[valueHeader:]))
}

// unseal returns the body of value, which it does not copy.
func unseal(key, value []byte) ([]byte, error) {
	if len(value) < valueHeader {
		return nil, corruptf(key, "value of %d bytes", len(value))
	}
	if value[0] != valueVersion {
		return nil, corruptf(key, "value version %d", value[0])
	}
	body := value[valueHeader:]
	if got, want := checksum(key, body), binary.BigEndian.Uint32(value[1:]); got != want {
		return nil, corruptf(key, "checksum %08x instead of %08x", got, want)
	}
	return body, nil
}

func checksum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

func recordSize(r *store.Record) int { return valueHeader + recordFields + len(r.State) }

// putRecord encodes r into value, which has recordSize(r) bytes.
func putRecord(key, value []byte, r *store.Record) {
	b := append(value[:valueHeader], r.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Revision)
	b = binary.BigEndian.AppendUint32(b, r.StateVersion)
	b = binary.BigEndian.AppendUint64(b, r.EventHead)
	b = binary.BigEndian.AppendUint64(b, uint64(r.CreatedAt.UnixMilli()))
	var flags byte
	if r.Quarantined {
		flags |= recordQuarantined
	}
	b = append(b, flags)
	_ = append(b, r.State...)
	seal(key, value)
}

// readRecord decodes all but the Address. State is a part of value, not a copy.
func readRecord(key, value []byte, r *store.Record) error {
	b, err := unseal(key, value)
	if err != nil {
		return err
	}
	if len(b) < recordFields {
		return corruptf(key, "record of %d bytes", len(b))
	}
	if flags := decodeRecord(b, r); flags&^recordQuarantined != 0 {
		return corruptf(key, "record with unknown flags %08b", flags)
	}
	return nil
}

// decodeRecord reads a body of recordFields bytes at least.
func decodeRecord(b []byte, r *store.Record) (flags byte) {
	b = b[copy(r.ID[:], b):]
	r.Revision = binary.BigEndian.Uint64(b)
	r.StateVersion = binary.BigEndian.Uint32(b[8:])
	r.EventHead = binary.BigEndian.Uint64(b[12:])
	r.CreatedAt = time.UnixMilli(int64(binary.BigEndian.Uint64(b[20:]))).UTC()
	r.Quarantined = b[28]&recordQuarantined != 0
	r.State = b[29:]
	r.StateBytes = len(r.State)
	return b[28]
}

func rowSize(r *store.Row) int {
	if r.Due.IsZero() {
		return valueHeader + 1 + len(r.Value)
	}
	return valueHeader + 1 + 8 + len(r.Value)
}

// putRow encodes r into value, which has rowSize(r) bytes.
func putRow(key, value []byte, r *store.Row) {
	b := value[:valueHeader]
	if r.Due.IsZero() {
		b = append(b, 0)
	} else {
		b = append(b, rowIsDue)
		b = binary.BigEndian.AppendUint64(b, sortable(micros(r.Due)))
	}
	_ = append(b, r.Value...)
	seal(key, value)
}

// storedRow is a decoded row; its value is not a copy.
type storedRow struct {
	value []byte
	isDue bool
	due   int64
}

func readRow(key, value []byte) (row storedRow, err error) {
	b, err := unseal(key, value)
	if err != nil {
		return row, err
	}
	switch {
	case len(b) >= 1 && b[0] == 0:
		row.value = b[1:]
	case len(b) >= 9 && b[0] == rowIsDue:
		row.isDue, row.due, row.value = true, unsortable(binary.BigEndian.Uint64(b[1:])), b[9:]
	default:
		return row, corruptf(key, "row of %d bytes", len(b))
	}
	return row, nil
}

// row copies a decoded row, with the key it is known by, for a caller to keep.
func (r storedRow) row(key []byte) store.Row {
	both := make([]byte, 0, len(key)+len(r.value))
	both = append(both, key...)
	both = append(both, r.value...)
	row := store.Row{
		Key:   slices.Clip(both[:len(key)]),
		Value: slices.Clip(both[len(key):]),
	}
	if r.isDue {
		row.Due = time.UnixMicro(r.due).UTC()
	}
	return row
}

func corruptf(key []byte, format string, args ...any) error {
	return fmt.Errorf("%w: %s at key %q", store.ErrCorrupt, fmt.Sprintf(format, args...), key)
}

// readError wraps what Pebble returned when it was asked to do something.
func readError(doing string, err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%s: %w: %w", doing, store.ErrCorrupt, err)
	}
	if errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("embedded store: %s: %w", doing, err)
}
