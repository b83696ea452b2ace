// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The log of an actor's numbered events is one row for each, written by the turn
// that published it and in the same commit. Its window says which of them may be
// replayed. Rows that have left the window are deleted in lumps, when it is a
// quarter too long, so a row may be there and count as trimmed.

// eventWindow bounds what is replayed: an event within all three bounds.
type eventWindow struct {
	none  bool          // no log at all
	count int           // events
	bytes int           // encoded events, without their EventInfo
	age   time.Duration // since the turn that published the event
}

// holds says whether the event with the given number is within the window, given
// the log's head and the encoded bytes of the event and all after it.
func (w *eventWindow) holds(number, head, bytes uint64, age time.Duration) bool {
	return !w.none && head-number < uint64(w.count) && bytes <= uint64(w.bytes) && age <= w.age
}

// overgrown says whether the log is so much longer than the window that a trim
// pays.
func (w *eventWindow) overgrown(events, bytes uint64, age time.Duration) bool {
	return events > uint64(w.count+w.count/4) || bytes > uint64(w.bytes+w.bytes/4) || age > w.age+w.age/4
}

// eventLog is what a body knows of its log: as of the newest turn, durable or not.
type eventLog struct {
	known bool
	stale bool   // the stored rows do not reach up to the head: they are of no use
	first uint64 // the oldest row; beyond the head if there is none
	// before is the encoded bytes of all events before the first row, total of
	// all events. Only their difference counts.
	before, total uint64
	oldest        int64 // when the first row's event was published, or earlier; Unix nanoseconds
}

// openLog reads what is known of the log, once for each time the actor comes into
// memory. The store then has every row, because a body comes into memory when all
// that was committed before is known to the store, and it comes here before it
// commits an event of its own.
func (b *body) openLog(t *turn, head uint64) error {
	if b.log.known {
		return nil
	}
	log := eventLog{known: true, first: head + 1}
	if head > 0 {
		ctx := context.WithoutCancel(t)
		newest, err := t.fromStore(ctx, store.KindEvent, store.Range{Limit: 1, Reverse: true})
		if err != nil {
			return err
		}
		oldest, err := t.fromStore(ctx, store.KindEvent, store.Range{Limit: 1})
		if err != nil {
			return err
		}
		if len(newest) > 0 && len(oldest) > 0 {
			last, err := readLogged(newest[0])
			if err != nil {
				return t.corrupt(err)
			}
			first, err := readLogged(oldest[0])
			if err != nil {
				return t.corrupt(err)
			}
			if log.stale = last.number != head; !log.stale {
				log.first, log.before, log.oldest, log.total = first.number, first.total-first.size(), first.at, last.total
			}
		}
	}
	b.log = log
	return nil
}

// logEvents adds to a change the rows of the numbered events of its turn, which got
// the numbers after head, and the trim of what they push out of the window.
func (b *body) logEvents(t *turn, c *change, head uint64, at time.Time) error {
	window := &b.inst.typ.limits.events
	if window.none {
		return nil
	}
	if err := b.openLog(t, head); err != nil {
		return err
	}
	log := b.log
	if log.stale {
		log.stale = false
		c.writes = append(c.writes, store.RowWrite{Kind: store.KindEvent, Op: store.RowDeleteRange})
	}
	number, now := head, at.UnixNano()
	for n := range t.events {
		event := &t.events[n]
		if !event.numbered {
			continue
		}
		number++
		if log.first == number {
			log.before, log.oldest = log.total, now
		}
		log.total += uint64(event.size())
		c.writes = append(c.writes, store.RowWrite{Kind: store.KindEvent, Row: event.row(number, now, log.total)})
	}
	if window.overgrown(number+1-log.first, log.total-log.before, time.Duration(now-log.oldest)) {
		if err := b.trim(t, c, &log, head, number, now); err != nil {
			return err
		}
	}
	c.log = log
	return nil
}

// trim deletes the rows that are no longer within the window. It looks at those up
// to stored only: what comes after is of this turn. A row that the store does not
// have yet is of a turn before it and counts as within.
func (b *body) trim(t *turn, c *change, log *eventLog, stored, head uint64, now int64) error {
	ctx := context.WithoutCancel(t)
	window := &b.inst.typ.limits.events
	var last loggedEvent // the newest row that is not within
	low, high := log.first, stored+1
	for low < high { // as sort.Search, with errors
		middle := low + (high-low)/2
		event, ok, err := t.logged(ctx, middle)
		if err != nil {
			return err
		}
		if !ok || window.holds(middle, head, log.total-(event.total-event.size()), time.Duration(now-event.at)) {
			high = middle
			continue
		}
		low, last = middle+1, event
	}
	if low > log.first {
		c.writes = append(c.writes, store.RowWrite{
			Kind: store.KindEvent, Op: store.RowDeleteRange, Row: store.Row{Key: logKey(log.first)}, End: logKey(low),
		})
		log.first, log.before = low, last.total
	}
	log.oldest = now // unless an earlier one is known
	if low <= stored {
		event, ok, err := t.logged(ctx, low)
		if err != nil {
			return err
		}
		if ok {
			log.oldest = event.at
		}
	}
	return nil
}

// logged reads one row of the log as the store has it.
func (t *turn) logged(ctx context.Context, number uint64) (event loggedEvent, ok bool, err error) {
	rows, err := t.fromStore(ctx, store.KindEvent, store.Range{From: logKey(number), To: logKey(number + 1), Limit: 1})
	if err != nil || len(rows) == 0 {
		return loggedEvent{}, false, err
	}
	if event, err = readLogged(rows[0]); err != nil {
		return event, true, t.corrupt(err)
	}
	return event, true, nil
}

// loggedEvent is a row of the log, decoded.
type loggedEvent struct {
	number  uint64
	encoded []byte // the event, without its EventInfo
	field   protoreflect.FieldNumber
	except  string // the id of the connection that was spared; "" if none was
	at      int64  // Unix nanoseconds
	total   uint64 // the encoded bytes of all events of the log up to this one
}

func (e *loggedEvent) size() uint64 { return uint64(len(e.encoded)) }

// A row's value is the encoded event, the id of the connection that was spared, and
// a trailer of fixed size, so that it takes the bytes of the event as they are:
//
//	event · id · field (4) · time (8) · total (8) · length of the id (1) · version (1)
const (
	logVersion      = 1
	logTrailerBytes = 4 + 8 + 8 + 1 + 1
	logKeyBytes     = 8
)

func logKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

// row makes the row of an event, in the room after the encoded event.
func (e *pendingEvent) row(number uint64, at int64, total uint64) store.Row {
	b := e.encoded
	spared := ""
	if e.except != nil {
		spared = e.except.id
	}
	b = append(b, spared...)
	b = binary.BigEndian.AppendUint32(b, uint32(e.field))
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = binary.BigEndian.AppendUint64(b, total)
	b = append(b, byte(len(spared)), logVersion)
	end := len(b)
	b = binary.BigEndian.AppendUint64(b, number)
	return store.Row{Key: b[end:], Value: b[eventHeadroom:end:end]}
}

var errBadLogRow = fmt.Errorf("%w: a row of the event log is malformed", store.ErrCorrupt)

// readLogged is the inverse of row.
func readLogged(row store.Row) (loggedEvent, error) {
	size := len(row.Value) - logTrailerBytes
	if len(row.Key) != logKeyBytes || size < 0 || row.Value[len(row.Value)-1] != logVersion {
		return loggedEvent{}, fmt.Errorf("%w: key %x", errBadLogRow, row.Key)
	}
	trailer := row.Value[size:]
	size -= int(trailer[20])
	total := binary.BigEndian.Uint64(trailer[12:])
	if size < 0 || total < uint64(size) {
		return loggedEvent{}, fmt.Errorf("%w: key %x", errBadLogRow, row.Key)
	}
	return loggedEvent{
		number:  binary.BigEndian.Uint64(row.Key),
		encoded: row.Value[:size],
		field:   protoreflect.FieldNumber(binary.BigEndian.Uint32(trailer)),
		except:  string(row.Value[size : len(row.Value)-logTrailerBytes]),
		at:      int64(binary.BigEndian.Uint64(trailer[4:])),
		total:   total,
	}, nil
}
