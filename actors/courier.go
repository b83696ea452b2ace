// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
)

// How messages are delivered.
const (
	maxCouriers      = 64 // queues that are delivered at one time
	maxRound         = 32 // messages that a courier takes at once
	maxAttempts      = 12
	firstRetry       = 2 * time.Second
	lastRetry        = 10 * time.Minute
	maxFailureLength = 1 << 10
)

// couriers deliver the messages of outboxes: one courier for each queue that has
// messages due, that is, for each pair of a sender and a receiver.
//
// A courier reads the first messages of its queue in a turn of the sender, so that
// they are durable; has the receiver take them, one after the other; and in another
// turn of the sender removes those that were taken. If the process dies in between,
// they are delivered again, and the receiver knows them.
type couriers struct {
	host  *Host
	ctx   context.Context //nolint:containedctx // it ends when the host stops
	slots chan struct{}

	mu     sync.Mutex
	active map[queue]bool // guarded by mu; true means that the queue is due again
}

// queue is the messages of one actor to another one.
type queue struct {
	from store.Address
	id   store.ID
	key  string // the prefix of its rows
}

// letter is a message that a courier has in hand.
type letter struct {
	number  uint64
	message *storagev1.OutboxMessage
}

func newCouriers(h *Host) *couriers {
	ctx, cancel := context.WithCancel(context.Background())
	h.running.Go(func() {
		<-h.quit
		cancel()
	})
	return &couriers{host: h, ctx: ctx, slots: make(chan struct{}, maxCouriers), active: make(map[queue]bool)}
}

// settle has a queue delivered whose first message is due; see [settleDue].
func (c *couriers) settle(ctx context.Context, from store.Address, row store.DueRow) error {
	if len(row.Key) < 8 || row.Key[0] != outboxMessage {
		return fmt.Errorf("actors: the outbox row %q cannot be due", row.Key)
	}
	q := queue{from, row.ID, string(row.Key[:len(row.Key)-8])}
	select {
	case c.slots <- struct{}{}:
	case <-c.ctx.Done():
		return nil // the next start finds it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, busy := c.active[q]; busy {
		c.active[q] = true
		<-c.slots
		return nil
	}
	c.active[q] = false
	c.host.running.Go(func() {
		defer func() { <-c.slots }()
		c.serve(q)
	})
	return nil
}

// serve delivers a queue until nothing of it is due.
func (c *couriers) serve(q queue) {
	dispatcher := c.host.dispatchers[store.KindOutbox]
	for {
		lifts := c.host.lifts.Load()
		more, err := c.round(q)
		if !c.host.admits(q.id.Shard()) { // whoever has it now, goes on
			more, err = false, nil
		}
		switch {
		case err == nil || c.ctx.Err() != nil:
		case needsLifting(err):
			dispatcher.park(q.id, q.from, lifts, err)
		default:
			c.host.log.Error("messages could not be delivered", slog.String("actor", q.from.Type), slog.String("key", q.from.Key), slog.Any("error", err))
			dispatcher.expect(q.id.Shard(), time.Now().Add(dueRetry))
		}
		c.mu.Lock()
		if more = err == nil && (more || c.active[q]) && c.host.admits(q.id.Shard()); more {
			c.active[q] = false
		} else {
			delete(c.active, q)
		}
		c.mu.Unlock()
		if !more {
			return
		}
	}
}

// round delivers the first messages of a queue and tells whether others are due.
func (c *couriers) round(q queue) (bool, error) {
	h := c.host
	if err := h.enter(); err != nil {
		return false, err
	}
	defer h.leave()
	// What a turn found out is read only if it was answered: one that was given up
	// may still be writing it.
	var letters []letter
	var strange, others bool
	err := h.within(c.ctx, q.from, q.id, true, func(t *turn) (err error) { letters, strange, err = t.pickUp(q.key); return err })
	if err == nil && strange {
		err = h.within(c.ctx, q.from, q.id, false, func(t *turn) (err error) { letters, others, err = t.claim(q.key); return err })
	}
	if err != nil {
		return false, ignoreAbsent(err)
	}
	if others {
		return true, nil
	}
	var taken uint64 // the number of the newest message that was taken
	var failed letter
	for _, l := range letters {
		err := c.deliver(q, l)
		if err != nil {
			failed = l
			break
		}
		taken = l.number
	}
	if taken == 0 && failed.message == nil {
		return false, nil
	}
	ctx := context.WithoutCancel(c.ctx)
	err = h.within(ctx, q.from, q.id, false, func(t *turn) (err error) { others, err = t.signOff(q.key, taken, failed); return err })
	if err != nil {
		return false, ignoreAbsent(err)
	}
	return others, nil
}

// ignoreAbsent forgives that the sender is destroyed: its messages are gone with it.
func ignoreAbsent(err error) error {
	if errors.Is(err, errAbsent) {
		return nil
	}
	return err
}

// within runs a turn of the runtime at one incarnation of an actor; errAbsent says
// that it is destroyed.
func (h *Host) within(ctx context.Context, addr store.Address, id store.ID, readOnly bool, run func(t *turn) error) error {
	typ := h.types[addr.Type]
	if typ == nil {
		return fmt.Errorf("%w %q", errUnknownType, addr.Type)
	}
	for {
		t := h.newTurn(ctx, typ, nil, func(t *turn, b *body) error {
			if b.inst.id != id {
				return errAbsent
			}
			return run(t)
		})
		t.readOnly, t.asleep = readOnly, true
		err := h.await(ctx, h.table.get(h, typ, addr), t)
		if err != errIncarnationGone { //nolint:errorlint // our own, never wrapped
			return err
		}
	}
}

// pickUp reads the first messages of a queue, if they are due, as far as this process
// may deliver them. strange says that the first one must be claimed before.
func (t *turn) pickUp(queue string) (letters []letter, strange bool, err error) {
	rows, err := t.dueMessages(queue, maxRound)
	if err != nil {
		return nil, false, err
	}
	for _, row := range rows {
		l := letter{numberOf(row.Key), new(storagev1.OutboxMessage)}
		if err := proto.Unmarshal(row.Value, l.message); err != nil {
			return nil, false, fmt.Errorf("decode a message: %w", err)
		}
		if l.message.GetClaimedBy() != t.inst.host.process {
			return letters, len(letters) == 0, nil
		}
		letters = append(letters, l)
	}
	return letters, false, nil
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
		more, err = t.signOff(queue, 0, letter{numberOf(rows[0].Key), m})
		return nil, more, err
	}
	m.ClaimedBy = process
	value, err := proto.Marshal(m)
	if err != nil {
		return nil, false, fmt.Errorf("encode a message: %w", err)
	}
	t.putRow(store.KindOutbox, store.Row{Key: rows[0].Key, Value: value, Due: rows[0].Due})
	return []letter{{numberOf(rows[0].Key), m}}, false, nil
}

// deliver has the receiver take a message. If it does not, the message says so.
func (c *couriers) deliver(q queue, l letter) error {
	h, m := c.host, l.message
	call, err := h.messageCall(q.from, q.id, l.number, m)
	if err == nil {
		err = h.deliver(c.ctx, call)
	}
	if err == nil || c.ctx.Err() != nil {
		return err
	}
	if isVerdict(err) {
		m.Attempts++
	}
	text := err.Error()
	if call != nil {
		text = wireError(c.ctx, h.log, call.Method, err).Error()
	}
	m.LastError, m.FailedAt = text[:min(len(text), maxFailureLength)], time.Now().UnixMicro()
	return err
}

var errUnknownReceiver = errors.New("actors: this server has no such method")

// isVerdict reports whether an error is the receiver's answer to a message, which
// nothing of it survived. Another failure may be that of the server or the moment.
func isVerdict(err error) bool {
	refused, ok := errors.AsType[*refusalError](err)
	if !ok {
		return !errors.Is(err, errUnknownReceiver)
	}
	if info := errorInfo(refused.wire); info != nil && info.GetDomain() != runtimeDomain {
		return true // its author's, from another node
	}
	for _, detail := range refused.wire.Details() {
		switch outcome := new(troupev1.Outcome); detail.Type {
		case string((*errdetails.RetryInfo)(nil).ProtoReflect().Descriptor().FullName()):
			return false
		case string(outcome.ProtoReflect().Descriptor().FullName()):
			if proto.Unmarshal(detail.Value, outcome) != nil || outcome.GetOutcome() != notExecuted {
				return false
			}
		}
	}
	return refused.wire.Code() != connect.CodeUnavailable
}

// signOff removes the messages of a queue that were taken, and puts off or gives up
// the one after them that has failed; its message is nil if none has. It may be gone:
// another node has delivered it, if the actor was there meanwhile. more says that the
// queue is due again at once.
func (t *turn) signOff(queue string, taken uint64, failed letter) (more bool, err error) {
	rows, err := t.scan(t, store.KindOutbox, store.Range{From: []byte(queue), To: prefixEnd([]byte(queue)), Limit: maxRound + 2})
	if err != nil {
		return false, err
	}
	gone := 0
	for _, row := range rows {
		switch {
		case numberOf(row.Key) <= taken:
			t.deleteRow(store.KindOutbox, row.Key)
			gone++
			continue
		case failed.message != nil && failed.number == numberOf(row.Key):
			m := failed.message
			m.ClaimedBy = 0
			value, err := proto.Marshal(m)
			if err != nil {
				return false, fmt.Errorf("encode a message: %w", err)
			}
			if m.GetAttempts() >= maxAttempts || m.GetDeaths() >= maxDeaths {
				t.deleteRow(store.KindOutbox, row.Key)
				t.putRow(store.KindOutbox, store.Row{Key: numbered([]byte{outboxDead}, numberOf(row.Key)), Value: value, Due: shelved})
				failed.message = nil
				continue
			}
			t.putRow(store.KindOutbox, store.Row{Key: row.Key, Value: value, Due: time.Now().Add(retryPause(m.GetAttempts(), firstRetry, lastRetry))})
		case row.Due.IsZero():
			t.putRow(store.KindOutbox, store.Row{Key: row.Key, Value: row.Value, Due: time.Now()})
			more = true
		default:
			more = !row.Due.After(time.Now())
		}
		break
	}
	if gone == 0 {
		return more, nil
	}
	head, err := t.outboxHead()
	if err != nil {
		return false, err
	}
	head.Held -= uint32(min(gone, int(head.GetHeld())))
	return more, t.putOutboxHead(head)
}
