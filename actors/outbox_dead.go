// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	"google.golang.org/protobuf/proto"
)

// DeadMessage is a message in the dead list: its receiver has refused it for good, and
// nothing of it has taken effect; or three processes have ended with it, and
// nobody has heard whether it has.
type DeadMessage struct {
	// Address is the sender's.
	store.Address
	// ActorID is the incarnation that sent the message.
	ActorID store.ID
	// Number names the message among those of its sender.
	Number uint64
	// ReceiverType is the receiver's type.
	ReceiverType string
	// ReceiverKey is the text of the receiver's key; see package wire. Unused
	// with a ReceiverID.
	ReceiverKey string
	// ReceiverID is the receiver's incarnation; zero if it is named by its key.
	ReceiverID store.ID
	// Procedure is what it calls.
	Procedure string
	// SentAt is when it was sent.
	SentAt time.Time
	// Attempts is how many attempts have failed.
	Attempts int
	// LastError is why the last one did, as a caller would see it.
	LastError string
	// FailedAt is when it did.
	FailedAt time.Time
}

// DeadMessages returns messages of the dead list in the order of their senders' ids
// and their numbers. It wakes no actor.
func (h *Host) DeadMessages(ctx context.Context, q DeadQuery) ([]DeadMessage, error) {
	rows, err := h.deadRows(ctx, q, store.KindOutbox, []byte{outboxDead}, numbered([]byte{outboxDead}, q.AfterNumber))
	if err != nil {
		return nil, err
	}
	found := make([]DeadMessage, len(rows))
	for n, row := range rows {
		m := new(storagev1.OutboxMessage)
		if err := proto.Unmarshal(row.Value, m); err != nil {
			return nil, wireError(ctx, h.log, h.methods[0], fmt.Errorf("decode a message: %w", err))
		}
		found[n] = DeadMessage{
			Address: row.addr, ActorID: row.ID, Number: numberOf(row.Key),
			ReceiverType: typeOfProcedure(m.GetProcedure()), ReceiverKey: m.GetKey(), ReceiverID: receiverID(m),
			Procedure: m.GetProcedure(), SentAt: time.UnixMicro(m.GetSentAt()),
			Attempts: int(m.GetAttempts()), LastError: m.GetLastError(), FailedAt: time.UnixMicro(m.GetFailedAt()),
		}
	}
	return found, nil
}

// RetryMessage takes a message out of the dead list: it is sent again, behind what
// its sender has sent to the receiver meanwhile, and has all its attempts again. If it
// has taken effect although nobody has heard of it, it does not do so twice.
func (h *Host) RetryMessage(ctx context.Context, target Target, number uint64) error {
	return h.manageRows(ctx, target, func(t *turn) error {
		m, err := t.unshelve(number)
		if err != nil {
			return err
		}
		head, err := t.outboxHead()
		if err != nil {
			return err
		}
		m.Attempts, m.Deaths, m.ClaimedBy = 0, 0, h.process
		m.PassedOver = nil // the one behind it has that
		if err := t.enqueueMessage(queueKey(typeOfProcedure(m.GetProcedure()), m), head, m, false); err != nil {
			return err
		}
		return t.putOutboxHead(head)
	})
}

// DropMessage gives up a message in the dead list.
func (h *Host) DropMessage(ctx context.Context, target Target, number uint64) error {
	return h.manageRows(ctx, target, func(t *turn) error {
		m, err := t.unshelve(number)
		if err != nil {
			return err
		}
		head, err := t.outboxHead()
		if err != nil {
			return err
		}
		head.Held -= min(1, head.GetHeld())
		if err := t.forgetPassedOver(head, m); err != nil {
			return err
		}
		return t.putOutboxHead(head)
	})
}

// unshelve removes a message from the dead list.
func (t *turn) unshelve(number uint64) (*storagev1.OutboxMessage, error) {
	key := numbered([]byte{outboxDead}, number)
	m := new(storagev1.OutboxMessage)
	if err := t.readOutbox(key, m); err != nil {
		return nil, err
	}
	if m.GetProcedure() == "" {
		return nil, &refusalError{refusal(connect.CodeNotFound, "message_not_found", notExecuted, "the actor has no dead message %d", number)}
	}
	t.deleteRow(store.KindOutbox, key)
	return m, nil
}
