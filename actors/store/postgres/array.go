// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"encoding/binary"
	"errors"
	"math"
)

// The types of array elements, as PostgreSQL numbers them.
const (
	oidBool  = 16
	oidBytea = 17
	oidInt8  = 20
	oidInt2  = 21
	oidInt4  = 23
	oidUUID  = 2950
)

// arrayHeader is the size of what stands before the elements: dimensions, whether there
// are nulls, type, length, lower bound.
const arrayHeader = 5 * 4

// array is a parameter: an array in PostgreSQL's binary form, made as it grows.
type array struct {
	data []byte
	n    int
}

// reset empties the array and keeps its room.
func (a *array) reset(oid uint32) {
	b := append(a.data[:0], make([]byte, arrayHeader)...)
	binary.BigEndian.PutUint32(b[8:], oid)
	a.data, a.n = b, 0
}

// param completes the array. It may grow further afterwards, and be completed again.
func (a *array) param() []byte {
	if a.n == 0 { // an empty array has no dimension
		clear(a.data[:4])
		return a.data[:12]
	}
	binary.BigEndian.PutUint32(a.data, 1)
	binary.BigEndian.PutUint32(a.data[12:], uint32(a.n)) //nolint:gosec // bounded by the size of a statement
	binary.BigEndian.PutUint32(a.data[16:], 1)
	return a.data
}

func (a *array) grow(size int) {
	a.data = binary.BigEndian.AppendUint32(a.data, uint32(size)) //nolint:gosec // bounded by maxMessage
	a.n++
}

func (a *array) uuid(v [16]byte) {
	a.grow(16)
	a.data = append(a.data, v[:]...)
}

func (a *array) int8(v int64) {
	a.grow(8)
	a.data = binary.BigEndian.AppendUint64(a.data, bits(v))
}

func (a *array) int4(v int32) {
	a.grow(4)
	a.data = binary.BigEndian.AppendUint32(a.data, uint32(v)) //nolint:gosec // the same bits
}

func (a *array) int2(v int16) {
	a.grow(2)
	a.data = binary.BigEndian.AppendUint16(a.data, uint16(v)) //nolint:gosec // the same bits
}

func (a *array) bool(v bool) {
	a.grow(1)
	var b byte
	if v {
		b = 1
	}
	a.data = append(a.data, b)
}

func (a *array) bytes(v []byte) {
	a.grow(len(v))
	a.data = append(a.data, v...)
}

func (a *array) text(v string) {
	a.grow(len(v))
	a.data = append(a.data, v...)
}

func (a *array) null() {
	binary.BigEndian.PutUint32(a.data[4:], 1)
	a.data = binary.BigEndian.AppendUint32(a.data, math.MaxUint32)
	a.n++
}

// parseUUIDs reads an array of uuids without nulls.
func parseUUIDs(b []byte) ([][16]byte, error) {
	if len(b) < 12 || binary.BigEndian.Uint32(b[8:]) != oidUUID {
		return nil, errArray
	}
	if binary.BigEndian.Uint32(b) == 0 {
		return nil, nil
	}
	if len(b) < arrayHeader || (len(b)-arrayHeader)%20 != 0 {
		return nil, errArray
	}
	ids := make([][16]byte, 0, (len(b)-arrayHeader)/20)
	for b = b[arrayHeader:]; len(b) > 0; b = b[20:] {
		if binary.BigEndian.Uint32(b) != 16 {
			return nil, errArray
		}
		ids = append(ids, [16]byte(b[4:20]))
	}
	return ids, nil
}

var errArray = errors.New("postgres store: not an array of ids")
