// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"fmt"
	"slices"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	"google.golang.org/protobuf/proto"
)

// How a receiver knows what it has taken.
//
// The messages of a queue come in the order of their numbers, so the highest number that
// was taken says it of all. But one that went into the dead list is passed over, and
// whether it was taken before, its sender may not know: three processes may have ended
// between its effect and the note of it. So the message behind it says which ones it
// passes over, and the receiver notes those that it is not past. A dead message that is
// tried again has another number, and says under which ones it has been dead: it takes
// effect unless the receiver is past one of them and does not miss it. A receiver knows
// nothing of what came before the first message that it took: another incarnation may
// have.

// maxMissing bounds the numbers that a sender and a receiver note of a queue.
const maxMissing = 10_000

// take notes that the turn takes a message, or says that an earlier one has.
func (t *turn) take(p *Postmark) (taken bool, err error) {
	key := append([]byte{outboxTaken}, p.Sender[:]...)
	if !t.call.ID.IsZero() {
		key[0] = outboxTakenID
	}
	inbox := new(storagev1.Inbox)
	if err := t.readOutbox(key, inbox); err != nil {
		return false, err
	}
	if inbox.GetNumber() >= p.Number {
		return true, nil
	}
	taken, forgotten := receive(inbox, p)
	if forgotten {
		return false, &refusalError{refusal(connect.CodeFailedPrecondition, "message_forgotten", notExecuted,
			"the actor does not know any more whether it has taken the message: too many others have died since")}
	}
	return taken, t.putOutbox(key, inbox)
}

// receive notes a message with a new number in an inbox. It reports whether the message
// was taken under a former one, or that this is forgotten.
func receive(inbox *storagev1.Inbox, p *Postmark) (taken, forgotten bool) {
	if inbox.GetNumber() == 0 {
		inbox.Since = p.Number
	}
	for _, number := range p.PassedOver {
		if number > inbox.GetNumber() && number >= inbox.GetSince() {
			inbox.Missing = append(inbox.Missing, number)
		}
	}
	for _, number := range p.FormerNumbers {
		known := number >= inbox.GetSince() && number <= inbox.GetNumber()
		n := slices.Index(inbox.Missing, number)
		switch {
		case n >= 0:
			inbox.Missing = slices.Delete(inbox.Missing, n, n+1)
		case known && number <= inbox.GetForgotten():
			forgotten = true
		case known:
			taken = true
		}
	}
	if most := len(inbox.GetMissing()) - maxMissing; most > 0 {
		inbox.Forgotten = slices.Max(inbox.Missing[:most])
		inbox.Missing = inbox.Missing[most:]
	}
	inbox.Number = p.Number
	return taken, forgotten && !taken
}

// shelve puts a message into the dead list, and returns what the one behind it passes
// over.
func (t *turn) shelve(key []byte, m *storagev1.OutboxMessage) (passedOver []uint64, err error) {
	number := numberOf(key)
	dead, _ := proto.Clone(m).(*storagev1.OutboxMessage) // the turn may run again
	dead.FormerNumbers = append(dead.FormerNumbers, number)
	value, err := proto.Marshal(dead)
	if err != nil {
		return nil, fmt.Errorf("encode a message: %w", err)
	}
	t.deleteRow(store.KindOutbox, key)
	t.putRow(store.KindOutbox, store.Row{Key: numbered([]byte{outboxDead}, number), Value: value, Due: shelved})
	return append(dead.PassedOver, number), nil
}

// withPassedOver adds to what an encoded message passes over.
func withPassedOver(value []byte, numbers []uint64) ([]byte, error) {
	m := new(storagev1.OutboxMessage)
	if err := proto.Unmarshal(value, m); err != nil {
		return nil, fmt.Errorf("decode a message: %w", err)
	}
	m.PassedOver = append(m.PassedOver, numbers...)
	value, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode a message: %w", err)
	}
	return value, nil
}

// passedKey is that of the row of what the next message of a queue passes over.
func passedKey(queue []byte) []byte { return append([]byte{outboxPassed}, queue[1:]...) }

// keepPassedOver notes what the next message of a queue passes over, which is empty.
func (t *turn) keepPassedOver(queue []byte, head *storagev1.Outbox, numbers []uint64) error {
	row := new(storagev1.PassedOver)
	if err := t.readOutbox(passedKey(queue), row); err != nil {
		return err
	}
	if len(row.GetNumbers()) == 0 {
		head.Passing++
	}
	row.Numbers = append(row.Numbers, numbers...)
	return t.putOutbox(passedKey(queue), row)
}

// takePassedOver moves what the first message of a queue passes over into it.
func (t *turn) takePassedOver(queue []byte, head *storagev1.Outbox, m *storagev1.OutboxMessage) error {
	if head.GetPassing() == 0 {
		return nil
	}
	row := new(storagev1.PassedOver)
	if err := t.readOutbox(passedKey(queue), row); err != nil || len(row.GetNumbers()) == 0 {
		return err
	}
	m.PassedOver = append(m.PassedOver, row.GetNumbers()...)
	t.deleteRow(store.KindOutbox, passedKey(queue))
	head.Passing--
	return nil
}

// forgetPassedOver takes out of what the next message of a queue passes over what will
// not come again.
func (t *turn) forgetPassedOver(head *storagev1.Outbox, dropped *storagev1.OutboxMessage) error {
	if head.GetPassing() == 0 {
		return nil
	}
	key := passedKey(queueKey(typeOfProcedure(dropped.GetProcedure()), dropped))
	row := new(storagev1.PassedOver)
	if err := t.readOutbox(key, row); err != nil || len(row.GetNumbers()) == 0 {
		return err
	}
	row.Numbers = slices.DeleteFunc(row.Numbers, func(number uint64) bool { return slices.Contains(dropped.GetFormerNumbers(), number) })
	if len(row.Numbers) > 0 {
		return t.putOutbox(key, row)
	}
	t.deleteRow(store.KindOutbox, key)
	head.Passing--
	return nil
}
