// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	"google.golang.org/protobuf/proto"
)

// maxMessageBytes bounds the request of a message.
const maxMessageBytes = 1 << 20

// Outbox sends messages to other actors as part of a turn: each is a call whose reply
// nobody waits for.
//
// A message is stored in the commit of the turn that sends it. If the turn fails, it
// was never sent; once the turn's reply is there, it takes effect at the receiver
// once, also when processes die in between. Messages of one actor to another one take
// effect in the order in which they were sent; there is no other order. The receiver
// sees the sender as its subject, as in a direct call, and is made by the first
// message if it is absent.
//
// A message that the receiver answers with an error is tried again after 2 s, twice as
// long each time up to 10 min, and 12 times in all. Then it is dead: it is kept, the
// messages after it go on, and whoever runs the server can drop it or have it tried
// again, which has no second effect. Failures that are not the receiver's verdict, such as a full mailbox, do not
// count. A message that three processes have ended with is dead too; the third
// time it is tried alone.
//
// An actor that is destroyed takes its messages with it that have not been delivered.
// A turn that sends a message and destroys the actor fails with failed_precondition.
// What a receiver has taken is forgotten when it is destroyed.
type Outbox struct{ body *body }

// Outbox returns the actor's outbox. Only a turn that writes may send.
func (a *Actor[State, Event]) Outbox() Outbox { return Outbox{a.body} }

// Send sends a message: a call of a procedure, which the generated constants that end
// in Procedure name, with its request, which is encoded at once.
//
//	err := a.Outbox().Send(actors.Peer{Key: []string{"acme", "7"}},
//		bankv1connect.AccountDepositProcedure, &bankv1.DepositRequest{Amount: 5})
//
// An unknown procedure, one that is read-only or a stream, another request message
// and an address that cannot be are errors with the code invalid_argument; the turn
// may go on. Beyond 100 messages in a turn, and 10,000 that have not been delivered,
// the error has the code resource_exhausted, and the turn fails whatever it makes of
// it.
func (o Outbox) Send(to Peer, procedure string, request proto.Message) error {
	t := o.body.writing("Outbox.Send")
	m, typ, err := o.body.inst.host.newMessageTo(t, to, procedure, request)
	if err != nil {
		return err
	}
	return t.send(typ, m)
}

// newMessageTo makes a message and checks it. It returns the receiver's type too.
func (h *Host) newMessageTo(t *turn, to Peer, procedure string, request proto.Message) (*storagev1.OutboxMessage, string, error) {
	bad := func(reason, format string, args ...any) (*storagev1.OutboxMessage, string, error) {
		return nil, "", Errorf(connect.CodeInvalidArgument, reason, format, args...)
	}
	method := h.named[procedure]
	switch {
	case method == nil:
		return bad("unknown_method", "this server has no %s", procedure)
	case method.ReadOnly, method.Subscription, method.Spec.StreamType != connect.StreamTypeUnary:
		return bad("bad_message", "%s cannot be called by a message: it has no effect or streams", procedure)
	case request == nil || request.ProtoReflect().Descriptor().FullName() != method.input.Descriptor().FullName():
		return bad("bad_message", "%s takes a %s and not a %T", procedure, method.input.Descriptor().FullName(), request)
	case to.Resolve == Create:
		return bad("bad_message", "a message may be delivered again and finds its actor then: it cannot be addressed with Create")
	}
	call, err := to.call(t.inst.addr.Namespace)
	if err != nil {
		return bad("bad_message", "%s", err)
	}
	if err := h.check(request); err != nil {
		return bad("invalid_message", "%s", err)
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return bad("bad_message", "the request does not encode: %s", err)
	}
	if len(encoded) > maxMessageBytes {
		return bad("message_too_large", "the request has %d bytes and may have %d", len(encoded), maxMessageBytes)
	}
	m := &storagev1.OutboxMessage{
		Procedure: procedure, Request: encoded,
		Key: call.Address.Key, MustExist: call.Resolve == Get, Input: call.Input, Params: call.Params,
		SentAt: time.Now().UnixMicro(), ClaimedBy: h.process,
	}
	if !call.ID.IsZero() {
		m.Id = call.ID[:]
	}
	var header connect.Header
	passOnTrace(t, &header)
	for name, values := range header.All() {
		for _, value := range values {
			if !utf8.ValidString(value) {
				continue // no trace has it, and no row can
			}
			m.Trace = append(m.Trace, &storagev1.TraceField{Name: name, Value: value})
		}
	}
	return m, method.Type, nil
}

// The rows of an outbox are told apart by the first byte of their keys.
const (
	outboxHead    = 'h' // one row: storagev1.Outbox
	outboxMessage = 'm' // and the receiver, and a number: storagev1.OutboxMessage
	outboxDead    = 'd' // and a number: storagev1.OutboxMessage
	outboxPassed  = 'p' // and the receiver: storagev1.PassedOver, of a queue that is empty
	outboxTaken   = 'i' // and a sender's id: storagev1.Inbox, of its messages to the key
	outboxTakenID = 'j' // the same, of its messages to the id: another queue with its own pace
)

// queueKey is the prefix of the messages to one receiver: a hash, because a key may be
// longer than a row's. Of each queue only the first message is due at any time.
func queueKey(typ string, m *storagev1.OutboxMessage) []byte {
	hash := sha256.New()
	_, _ = fmt.Fprintf(hash, "%s\x00%t\x00%s%s", typ, len(m.GetId()) > 0, m.GetId(), m.GetKey()) // never fails
	return append([]byte{outboxMessage}, hash.Sum(nil)[:16]...)
}

func numbered(prefix []byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clip(prefix), number)
}

func numberOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// sent is what a turn has sent.
type sent struct {
	messages int
	queues   map[string]bool // into which
}

// send puts a message into the write set of the turn.
func (t *turn) send(typ string, m *storagev1.OutboxMessage) error {
	if t.sent == nil {
		t.sent = &sent{queues: make(map[string]bool)}
	}
	if t.sent.messages >= t.inst.typ.limits.rows.MessagesPerTurn {
		return t.spoil(Errorf(connect.CodeResourceExhausted, "too_many_messages", "a turn sends at most %d messages", t.inst.typ.limits.rows.MessagesPerTurn))
	}
	head, err := t.outboxHead()
	if err != nil {
		return err
	}
	if int(head.GetHeld()) >= t.inst.typ.limits.rows.PendingMessages {
		return t.spoil(Errorf(connect.CodeResourceExhausted, "outbox_full", "%d messages have not been delivered", head.GetHeld()))
	}
	head.Held++
	queue := queueKey(typ, m)
	if err := t.enqueueMessage(queue, head, m, t.sent.queues[string(queue)]); err != nil {
		return err
	}
	t.sent.messages++
	t.sent.queues[string(queue)] = true
	return t.putOutboxHead(head)
}

// spoil makes the turn fail, whatever its code does with the error.
func (t *turn) spoil(err error) error {
	t.refused = err
	return err
}

// checkOutbox refuses what cannot be committed.
func (t *turn) checkOutbox() error {
	if t.destroy && t.sent != nil && t.sent.messages > 0 {
		return &refusalError{refusal(connect.CodeFailedPrecondition, "outbox_lost", notExecuted,
			"a turn that destroys the actor cannot send messages: they would go with it")}
	}
	return t.refused
}

// enqueueMessage puts a message at the end of its queue, under the outbox's next number.
// Behind says that the queue is known to hold another one.
func (t *turn) enqueueMessage(queue []byte, head *storagev1.Outbox, m *storagev1.OutboxMessage, behind bool) error {
	if !behind {
		ahead, err := t.scan(t, store.KindOutbox, store.Range{From: queue, To: prefixEnd(queue), Limit: 1})
		if err != nil {
			return err
		}
		behind = len(ahead) > 0
	}
	if !behind {
		if err := t.takePassedOver(queue, head, m); err != nil {
			return err
		}
	}
	head.LastNumber++
	value, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	row := store.Row{Key: numbered(queue, head.GetLastNumber()), Value: value}
	if !behind {
		row.Due = time.Now()
	}
	t.saw(store.KindOutbox, string(row.Key), 0) // its number is new
	t.putRow(store.KindOutbox, row)
	return nil
}

func (t *turn) outboxHead() (*storagev1.Outbox, error) {
	head := new(storagev1.Outbox)
	return head, t.readOutbox([]byte{outboxHead}, head)
}

// readOutbox decodes a row, which leaves the message empty if it is absent.
func (t *turn) readOutbox(key []byte, into proto.Message) error {
	row, ok, err := t.row(t, store.KindOutbox, key)
	if err != nil || !ok {
		return err
	}
	if err := proto.Unmarshal(row.Value, into); err != nil {
		return t.corrupt(fmt.Errorf("decode a row of the outbox: %w", err))
	}
	return nil
}

func (t *turn) putOutboxHead(head *storagev1.Outbox) error {
	return t.putOutbox([]byte{outboxHead}, head)
}

// putOutbox encodes a row.
func (t *turn) putOutbox(key []byte, value proto.Message) error {
	encoded, err := proto.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode a row of the outbox: %w", err)
	}
	t.putRow(store.KindOutbox, store.Row{Key: key, Value: encoded})
	return nil
}

// messageCall makes the call that delivers a message.
func (h *Host) messageCall(from store.Address, id store.ID, number uint64, m *storagev1.OutboxMessage) (*Call, error) {
	method := h.named[m.GetProcedure()]
	if method == nil {
		return nil, errUnknownReceiver
	}
	call := &Call{
		Target:   Target{Address: store.Address{Namespace: from.Namespace, Type: method.Type, Key: m.GetKey()}},
		Method:   method,
		Request:  method.NewRequest(),
		Input:    m.Input,
		Params:   m.Params,
		Subject:  subjectOf(from),
		Internal: true,
		Codec:    noReply{},
		Info:     &connect.CallInfo{Spec: method.Spec, Codec: noReply{}.Name()},
		Postmark: &Postmark{Sender: id, Number: number, FormerNumbers: m.GetFormerNumbers(), PassedOver: m.GetPassedOver()},
	}
	call.ID = receiverID(m)
	if m.GetMustExist() {
		call.Resolve = Get
	}
	for _, field := range m.GetTrace() {
		call.Info.RequestHeader().Add(field.GetName(), field.GetValue())
	}
	if err := proto.Unmarshal(m.GetRequest(), call.Request); err != nil {
		return nil, fmt.Errorf("decode a message: %w", err)
	}
	return call, nil
}

// receiverID is the incarnation that a message is for; zero if it is for a key.
func receiverID(m *storagev1.OutboxMessage) (id store.ID) {
	copy(id[:], m.GetId())
	return id
}

// typeOfProcedure returns the service of "/service/method".
func typeOfProcedure(procedure string) string {
	service, _, _ := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	return service
}

// deliver has the receiver take a message, unless it has done so before.
func (h *Host) deliver(ctx context.Context, call *Call) error {
	return protect(func() error {
		return inContextOf(ctx, call, func(ctx context.Context) error {
			_, err := h.run(ctx, call)
			return err
		})
	})
}
