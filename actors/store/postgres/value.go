// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// Every value has the CRC-32C of all that it is known by and of itself beside it, so
// that one that was damaged, or changed by hand, or is found in another's place, is
// refused. PostgreSQL's own checksums are off by default and end at the page.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// digest is what an address is found by.
func digest(addr store.Address) (sum [16]byte) {
	var space [256]byte
	b := appendAddress(space[:0], addr)
	whole := sha256.Sum256(b)
	copy(sum[:], whole[:])
	return sum
}

func appendAddress(b []byte, addr store.Address) []byte {
	for _, part := range [...]string{addr.Namespace, addr.Type, addr.Key} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part))) //nolint:gosec // bounded by valid
		b = append(b, part...)
	}
	return b
}

// recordSum is the checksum of the record above that of its state, which a list does
// not read.
func recordSum(r *store.Record, stateSum uint32) int64 {
	var space [384]byte
	b := append(space[:0], r.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Revision)
	b = binary.BigEndian.AppendUint32(b, r.StateVersion)
	b = binary.BigEndian.AppendUint64(b, r.EventHead)
	b = binary.BigEndian.AppendUint64(b, bits(r.CreatedAt.UnixMilli()))
	var flags byte
	if r.Quarantined {
		flags = 1
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(r.StateBytes)) //nolint:gosec // a length
	b = binary.BigEndian.AppendUint32(b, stateSum)
	b = appendAddress(b, r.Address)
	return signed(uint64(crc32.Checksum(b, castagnoli))<<32 | uint64(stateSum))
}

func stateSum(state []byte) uint32 { return crc32.Checksum(state, castagnoli) }

// checkRecord refuses a record that is not the one that was stored. Without its state,
// StateBytes is set and the state's checksum is taken on trust.
func checkRecord(r *store.Record, sum int64, withState bool) error {
	known := uint32(bits(sum)) //nolint:gosec // the lower half
	if withState && stateSum(r.State) != known {
		return fmt.Errorf("%w: the state of actor %s fails its checksum", store.ErrCorrupt, r.ID)
	}
	if recordSum(r, known) != sum {
		return fmt.Errorf("%w: the record of actor %s fails its checksum", store.ErrCorrupt, r.ID)
	}
	return nil
}

// rowSum is the checksum of a row.
func rowSum(id store.ID, kind store.Kind, key []byte, due *int64, value []byte) int32 {
	var space [64 + maxRowKey]byte
	b := append(space[:0], id[:]...)
	b = append(b, byte(kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(key))) //nolint:gosec // bounded by valid
	b = append(b, key...)
	if due != nil {
		b = append(b, 1)
		b = binary.BigEndian.AppendUint64(b, bits(*due))
	} else {
		b = append(b, 0)
	}
	sum := crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, value)
	return int32(sum) //nolint:gosec // the same bits
}

// checkRow makes a row of what was read, or refuses it.
func checkRow(id store.ID, kind store.Kind, key, value []byte, due *int64, sum int32) (store.Row, error) {
	if rowSum(id, kind, key, due, value) != sum {
		return store.Row{}, fmt.Errorf("%w: a row of kind %d of actor %s fails its checksum, at key %q", store.ErrCorrupt, kind, id, key)
	}
	row := store.Row{Key: key, Value: value}
	if due != nil {
		row.Due = time.UnixMicro(*due).UTC()
	}
	return row, nil
}

// signed and bits turn a number without a sign into the stored one of the same bits,
// and back.
func signed(n uint64) int64 { return int64(n) }  //nolint:gosec // the same bits
func bits(n int64) uint64   { return uint64(n) } //nolint:gosec // the same bits
