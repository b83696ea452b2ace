// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/troupe-dev/troupe/actors/store"
)

// The engine takes the first record of its log that it cannot read for what a power
// cut has torn off. Damage looks the same, and would silently take back all that was
// acknowledged from there on. So each of our batches begins with a mark: its number,
// and the number of the newest batch that was synced when it was written. A batch
// that cannot be read and that a later mark calls synced is damage: the store does
// not open.
//
// What is left is the very end. The last batches, behind which nothing was written
// any more, cannot be told from a torn end by anybody. Close leaves no such end: the
// last thing that it writes is a mark. Nor does a store that has been at rest for a
// moment: see quiet.
const (
	markMagic = 0x7f54726f // in front of a mark
	markSize  = 4 + 8 + 8
)

// newBatchLocked returns a batch that holds its mark. It must be applied, or the store has
// failed: the numbers have no gap. From the first one on every batch of the log is one of
// these, for one without a mark is counted as if it had a number.
func (s *Store) newBatchLocked() *pebble.Batch {
	s.logged++
	mark := make([]byte, 0, markSize)
	mark = binary.BigEndian.AppendUint32(mark, markMagic)
	mark = binary.BigEndian.AppendUint64(mark, s.logged)
	mark = binary.BigEndian.AppendUint64(mark, s.synced.Load())
	batch := s.db.NewBatch()
	_ = batch.LogData(mark, nil) // never fails
	return batch
}

// syncedTo notes that the batch with the number is durable, and so all before it.
func (s *Store) syncedTo(number uint64) {
	for {
		known := s.synced.Load()
		if known >= number || s.synced.CompareAndSwap(known, number) {
			return
		}
	}
}

// seal makes all batches durable and ends the log with a mark that says so.
func (s *Store) seal() error {
	for range 2 {
		if _, err := s.writeMark(); err != nil {
			return fmt.Errorf("sync the log: %w", err)
		}
	}
	return nil
}

// checkLog fails with [store.ErrCorrupt] if the newest log in dir, which alone may
// have a torn end, has lost something that was synced.
func checkLog(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	newest, number := "", uint64(0)
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, ".log")
		if n, err := strconv.ParseUint(digits, 10, 64); ok && err == nil && n >= number {
			newest, number = name, n
		}
	}
	if newest == "" {
		return nil
	}
	f, err := fsys.Open(fsys.PathJoin(dir, newest))
	if err != nil {
		return err
	}
	check := logCheck{number: uint32(number)}
	damaged, err := check.read(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if damaged {
		return fmt.Errorf("%w: %s is damaged at %d, before its end; restore the store from a backup", store.ErrCorrupt, newest, check.badAt)
	}
	return nil
}

// The log is a row of blocks, a block a row of chunks, and a chunk all of a batch or
// a part of it:
//
//	checksum of what follows the length (4)  length of the payload (2)
//	kind (1)  log number (4)  synced offset (8)  payload
//
// A batch begins with 12 bytes of its own, then our mark: kind, length, mark.
const (
	logBlock  = 32 << 10
	logHeader = 4 + 2 + 1 + 4 + 8

	chunkFull  byte = 9
	chunkFirst byte = 10
	chunkLast  byte = 12

	markOffset = 12 + 1 + 1
)

// logCheck looks for damage in a log.
type logCheck struct {
	number uint32 // of the log, as chunks hold it

	batch uint64 // the number of the batch being read; 0 before a mark was seen
	whole bool   // it has been read to its end

	bad    bool
	badAt  int64  // where the first chunk stands that cannot be read
	lost   uint64 // the number of the batch that it belongs to; 0 as long as unknown
	synced uint64 // the highest number that a mark behind it calls synced
}

// read reports whether the log has lost a batch that was synced.
func (c *logCheck) read(log io.Reader) (damaged bool, err error) {
	block := make([]byte, logBlock)
	for base := int64(0); ; base += logBlock {
		n, err := io.ReadFull(log, block)
		if errors.Is(err, io.EOF) {
			return c.bad && c.lost > 0 && c.synced >= c.lost, nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, err
		}
		c.block(block[:n], base)
	}
}

func (c *logCheck) block(b []byte, base int64) {
	for at := 0; len(b)-at >= logHeader; {
		size, ok := c.chunkAt(b[at:])
		switch {
		case ok && !c.bad:
			c.good(b[at : at+size])
		case ok:
			c.behind(b[at : at+size])
		case !c.bad:
			c.bad, c.badAt = true, base+int64(at)
			if c.batch > 0 {
				c.lost = c.batch
				if c.whole {
					c.lost++
				}
			}
		}
		if ok {
			at += size
		} else {
			at++ // there may be another chunk anywhere
		}
	}
}

// good takes a chunk that all before can be read.
func (c *logCheck) good(chunk []byte) {
	kind := chunk[6]
	if kind == chunkFull || kind == chunkFirst {
		if number, _, ok := markOf(chunk); ok {
			c.batch = number
		} else if c.batch > 0 {
			c.batch++ // its mark is in the next chunk
		}
	}
	c.whole = kind == chunkFull || kind == chunkLast
}

// behind takes a chunk that stands behind one that cannot be read.
func (c *logCheck) behind(chunk []byte) {
	number, synced, ok := markOf(chunk)
	if !ok {
		return
	}
	if c.lost == 0 {
		c.lost = number - 1 // at most
	}
	c.synced = max(c.synced, synced)
}

// markOf reads the mark of the batch that a chunk begins with.
func markOf(chunk []byte) (number, synced uint64, ok bool) {
	payload := chunk[logHeader:]
	if kind := chunk[6]; kind != chunkFull && kind != chunkFirst || len(payload) < markOffset+markSize {
		return 0, 0, false
	}
	mark := payload[markOffset:]
	if payload[markOffset-2] != byte(pebble.InternalKeyKindLogData) || payload[markOffset-1] != markSize ||
		binary.BigEndian.Uint32(mark) != markMagic {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(mark[4:]), binary.BigEndian.Uint64(mark[12:]), true
}

// chunkAt returns the size of the chunk that b begins with.
func (c *logCheck) chunkAt(b []byte) (size int, ok bool) {
	if kind := b[6]; kind < chunkFull || kind > chunkLast || binary.LittleEndian.Uint32(b[7:]) != c.number {
		return 0, false
	}
	size = logHeader + int(binary.LittleEndian.Uint16(b[4:]))
	if size > len(b) {
		return 0, false
	}
	sum := bits.RotateLeft32(crc32.Checksum(b[6:size], castagnoli), 17) + 0xa282ead8
	return size, sum == binary.LittleEndian.Uint32(b)
}
