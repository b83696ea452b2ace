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
	maxCouriers = 64 // queues that are delivered at one time
	maxRound    = 32 // messages that a courier takes at once
	maxAttempts = 12
	firstRetry  = 2 * time.Second
	lastRetry   = 10 * time.Minute
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
	dead    bool // it is given up
	first   bool // its receiver has refused it for the first time
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
			c.host.logger(q.from).Error("messages could not be delivered", slog.Any("error", err))
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
	var strange, last, others bool
	err := h.within(c.ctx, q.from, q.id, true, func(t *turn) (err error) { letters, strange, last, err = t.pickUp(q.key); return err })
	if err == nil && last {
		if !h.lastTries.begin() {
			h.dispatchers[store.KindOutbox].expect(q.id.Shard(), time.Now().Add(lastTryPause))
			return false, nil
		}
		defer h.lastTries.end()
	}
	if err == nil && strange {
		err = h.within(c.ctx, q.from, q.id, false, func(t *turn) (err error) { letters, others, err = t.claim(q.key); return err })
	}
	if err != nil {
		return false, ignoreAbsent(err)
	}
	var taken uint64 // the number of the newest message that was taken
	var failed letter
	for _, l := range letters {
		if l.dead {
			c.reportDead(q, l)
			continue
		}
		attempts := l.message.GetAttempts()
		if err := c.deliver(q, l); err != nil {
			l.first = attempts == 0 && l.message.GetAttempts() == 1
			failed = l
			break
		}
		taken = l.number
	}
	if taken == 0 && failed.message == nil {
		return others, nil
	}
	ctx := context.WithoutCancel(c.ctx)
	err = h.within(ctx, q.from, q.id, false, func(t *turn) (err error) { others, err = t.signOff(q.key, taken, &failed); return err })
	if err != nil {
		return false, ignoreAbsent(err)
	}
	switch {
	case failed.dead:
		c.reportDead(q, failed)
	case failed.first:
		c.host.logger(q.from).Info("a message has failed and is tried again", slog.Uint64("number", failed.number),
			slog.String("procedure", failed.message.GetProcedure()), slog.String("error", failed.message.GetLastError()))
	}
	return others, nil
}

// reportDead tells the log of a message that has gone into the dead list.
func (c *couriers) reportDead(q queue, l letter) {
	c.host.logger(q.from).Warn("a message has failed for good and is in the dead list", slog.Uint64("number", l.number),
		slog.String("procedure", l.message.GetProcedure()), slog.Int("attempts", int(l.message.GetAttempts())), slog.String("error", l.message.GetLastError()))
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
	m.LastError, m.FailedAt = failureText(text), time.Now().UnixMicro()
	return err
}

var errUnknownReceiver = errors.New("actors: this server has no such method")

// isVerdict reports whether an error is the receiver's answer to a message, which
// nothing of it survived. Another failure may be that of the server or the moment.
func isVerdict(err error) bool {
	refused, ok := errors.AsType[*refusalError](err)
	if !ok {
		_, authored := errors.AsType[*Error](err)
		return authored || !errors.Is(err, errUnknownReceiver) && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrFenced)
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
