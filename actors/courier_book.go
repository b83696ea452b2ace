// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"fmt"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	"google.golang.org/protobuf/proto"
)

// pickUp reads the first messages of a queue, if they are due, as far as this process
// may deliver them. strange says that the first one must be claimed before, and last
// that the attempt at it may be the last one: then there is no other.
func (t *turn) pickUp(queue string) (letters []letter, strange, last bool, err error) {
	rows, err := t.dueMessages(queue, maxRound)
	if err != nil {
		return nil, false, false, err
	}
	for _, row := range rows {
		l := letter{number: numberOf(row.Key), message: new(storagev1.OutboxMessage)}
		if err := proto.Unmarshal(row.Value, l.message); err != nil {
			return nil, false, false, fmt.Errorf("decode a message: %w", err)
		}
		claimed := l.message.GetClaimedBy()
		strange, last = claimed != t.inst.host.process, isLast(l.message.GetDeaths(), claimed != 0 && claimed != t.inst.host.process)
		switch {
		case len(letters) > 0 && (strange || last): // the next time
			return letters, false, false, nil
		case strange:
			return nil, true, last, nil
		}
		if letters = append(letters, l); last {
			return letters, false, true, nil
		}
	}
	return letters, false, false, nil
}

// dueMessages reads the first messages of a queue; none if they are not due.
func (t *turn) dueMessages(queue string, limit int) ([]store.Row, error) {
	rows, err := t.scan(t, store.KindOutbox, store.Range{From: []byte(queue), To: prefixEnd([]byte(queue)), Limit: limit})
	if err != nil || len(rows) == 0 || rows[0].Due.IsZero() {
		return nil, err
	}
	if rows[0].Due.After(time.Now()) { // the clock may have gone back since it was due
		t.inst.host.dispatchers[store.KindOutbox].expect(t.inst.id.Shard(), rows[0].Due)
		return nil, nil
	}
	return rows, nil
}

// claim says that this process is about to deliver the first message of a queue, or
// gives the message up, if it has ended too many of them. more says that others are
// due then.
func (t *turn) claim(queue string) (letters []letter, more bool, err error) {
	rows, err := t.dueMessages(queue, 1)
	if err != nil || len(rows) == 0 {
		return nil, false, err
	}
	m := new(storagev1.OutboxMessage)
	if err := proto.Unmarshal(rows[0].Value, m); err != nil {
		return nil, false, fmt.Errorf("decode a message: %w", err)
	}
	process := t.inst.host.process
	if m.GetClaimedBy() != 0 && m.GetClaimedBy() != process {
		m.Deaths++
	}
	if m.GetDeaths() >= maxDeaths {
		m.LastError, m.FailedAt = "the process died in each of several attempts", time.Now().UnixMicro()
		l := letter{number: numberOf(rows[0].Key), message: m}
		more, err = t.signOff(queue, 0, &l)
		return []letter{l}, more, err
	}
	m.ClaimedBy = process
	value, err := proto.Marshal(m)
	if err != nil {
		return nil, false, fmt.Errorf("encode a message: %w", err)
	}
	t.putRow(store.KindOutbox, store.Row{Key: rows[0].Key, Value: value, Due: rows[0].Due})
	return []letter{{number: numberOf(rows[0].Key), message: m}}, false, nil
}

// signOff removes the messages of a queue that were taken, and puts off or gives up
// the one after them that has failed; its message is nil if none has. It may be gone:
// another node has delivered it, if the actor was there meanwhile. more says that the
// queue is due again at once.
func (t *turn) signOff(queue string, taken uint64, failed *letter) (more bool, err error) {
	rows, err := t.scan(t, store.KindOutbox, store.Range{From: []byte(queue), To: prefixEnd([]byte(queue)), Limit: maxRound + 2})
	if err != nil {
		return false, err
	}
	gone := 0
	failed.dead = false     // the turn may run again
	var passedOver []uint64 // by the one behind it
	for _, row := range rows {
		switch {
		case numberOf(row.Key) <= taken:
			t.deleteRow(store.KindOutbox, row.Key)
			gone++
			continue
		case failed.message != nil && !failed.dead && failed.number == numberOf(row.Key):
			m := failed.message
			m.ClaimedBy = 0
			if failed.dead = m.GetAttempts() >= maxAttempts || m.GetDeaths() >= maxDeaths; failed.dead {
				if passedOver, err = t.shelve(row.Key, m); err != nil {
					return false, err
				}
				continue
			}
			value, err := proto.Marshal(m)
			if err != nil {
				return false, fmt.Errorf("encode a message: %w", err)
			}
			t.putRow(store.KindOutbox, store.Row{Key: row.Key, Value: value, Due: time.Now().Add(retryPause(m.GetAttempts(), firstRetry, lastRetry))})
		default:
			if more, err = t.lead(row, passedOver); err != nil {
				return false, err
			}
			passedOver = nil
		}
		break
	}
	if gone == 0 && passedOver == nil {
		return more, nil
	}
	head, err := t.outboxHead()
	if err != nil {
		return false, err
	}
	if passedOver != nil {
		if err := t.keepPassedOver([]byte(queue), head, passedOver); err != nil {
			return false, err
		}
	}
	head.Held -= uint32(min(gone, int(head.GetHeld())))
	return more, t.putOutboxHead(head)
}

// lead makes a message the first one of its queue, and reports whether it is due now.
func (t *turn) lead(row store.Row, passedOver []uint64) (due bool, err error) {
	changed := len(passedOver) > 0
	if changed {
		if row.Value, err = withPassedOver(row.Value, passedOver); err != nil {
			return false, err
		}
	}
	now := time.Now()
	if row.Due.IsZero() {
		row.Due, changed = now, true
	}
	if changed {
		t.putRow(store.KindOutbox, row)
	}
	return !row.Due.After(now), nil
}
