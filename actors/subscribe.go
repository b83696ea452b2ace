// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Subscribe opens a connection. Every error is a *[connect.Error], ready for the
// wire. The caller must close the subscription.
func (h *Host) Subscribe(ctx context.Context, call *Call) (*Subscription, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	conn, reply, err := h.connect(ctx, call)
	if err != nil {
		return nil, wireError(ctx, h.log, call.Method, err)
	}
	h.subscribers.Add(1) // while in flight: Shutdown waits for both, in this order
	return &Subscription{Reply: reply, host: h, method: call.Method, conn: conn, shared: call.Shared, behind: conn.behind, considered: conn.from}, nil
}

// connect runs the hooks and the turn that open a connection.
func (h *Host) connect(ctx context.Context, call *Call) (*Conn, Reply, error) {
	typ := call.Method.owner
	params := call.Request
	if err := h.checkChain(call); err != nil {
		return nil, Reply{}, err
	}
	if err := h.check(params); err != nil {
		return nil, Reply{}, err
	}
	opening, err := typ.opening(call)
	if err != nil {
		return nil, Reply{}, err
	}
	if err := beforeConnect(ctx, typ, call, params); err != nil {
		return nil, Reply{}, err
	}
	t, err := h.submit(ctx, call, params, false, opening.open)
	for errors.Is(err, errNotStored) {
		t, err = h.submit(ctx, call, params, false, opening.open)
	}
	if err != nil {
		return nil, Reply{}, err
	}
	return t.opened, t.reply, nil
}

// open is what the turn of a connection does.
func (o *opening) open(t *turn, b *body) error {
	i := b.inst
	from, err := o.begin(t, b)
	if err != nil {
		return err
	}
	if err := i.admitConnection(); err != nil {
		return err
	}
	conn := newConn(i, t.call.Subject, t.params)
	conn.filter, conn.from, conn.logged, conn.behind = o.filter, from, i.eventHead, from < i.eventHead
	t.conn = conn
	if err := t.createConnState(b); err != nil {
		return err
	}
	conn.state = t.connState
	hello := &troupev1.ConnectionOpened{ConnectionId: conn.id, Connection: conn.token(), ActorId: i.idText, Resumed: o.resumes}
	if !t.call.Shared {
		hello.HeartbeatInterval = durationpb.New(i.host.heartbeat)
	}
	opened, err := i.typ.events.controlFrame(&troupev1.EventInfo{
		Cursor:  cursorText(i.cursors, from),
		Time:    timestamppb.Now(),
		Head:    i.eventHead,
		Control: &troupev1.EventInfo_Opened{Opened: hello},
	})
	if err != nil {
		return err
	}
	opened.head = from
	conn.push(0, opened)
	i.mu.Lock()
	i.conns = append(slices.Clip(i.conns), conn)
	i.mu.Unlock()
	t.opened = conn
	if hook := i.typ.hooks.connect; hook != nil {
		return t.within("connect", i.typ.limits.hooks.Connect, func() error { return hook(b.actor, t, conn) })
	}
	return nil
}

// disconnect takes a connection away from its actor and runs the disconnect hook.
func (h *Host) disconnect(conn *Conn) {
	i := conn.inst
	i.mu.Lock()
	was := len(i.conns)
	i.conns = without(i.conns, conn)
	hook := i.typ.hooks.disconnect
	if hook == nil || len(i.conns) == was || h.abrupt.Load() {
		i.forgetLocked()
		i.mu.Unlock()
		return
	}
	ctx := context.Background()
	t := h.newTurn(ctx, i.typ, nil, func(t *turn, b *body) error {
		if i.id != conn.actor {
			return errAbsent
		}
		t.conn, t.connState = conn, conn.state
		return t.within("disconnect", i.typ.limits.hooks.Connect, func() error { return hook(b.actor, t, conn) })
	})
	err := i.enqueueLocked(t) // before anybody can forget the instance
	i.mu.Unlock()
	if err == nil {
		err = h.answer(ctx, t)
	}
	if err != nil && !errors.Is(err, errAbsent) && !errors.Is(err, errIncarnationGone) {
		i.logger().Error("the disconnect hook failed", slog.Any("error", err))
	}
}

// head returns the number of the newest event that is durable.
func (i *instance) head() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.durableHead
}

// params decodes the parameters of a call outside a connection; nil without any.
func (h *Host) params(typ *actorType, encoded []byte) (proto.Message, error) {
	if encoded == nil {
		return nil, nil //nolint:nilnil // a call may carry none
	}
	for _, m := range typ.methods {
		if m.Subscription {
			params := m.NewRequest()
			if err := proto.Unmarshal(encoded, params); err != nil {
				return nil, &refusalError{refusal(connect.CodeInvalidArgument, "bad_actor_params", notExecuted,
					"actor-params-bin is not a %s", m.input.Descriptor().FullName())}
			}
			return params, h.check(params)
		}
	}
	return nil, fmt.Errorf("%s has no subscription", typ.name)
}

// join gives a call's turn its connection, or the state that a connection with its
// parameters would have.
func (t *turn) join(b *body) error {
	if t.call.Conn == "" {
		return t.createConnState(b)
	}
	id, _, _ := strings.Cut(t.call.Conn, ".")
	b.inst.mu.Lock()
	conns := b.inst.conns
	b.inst.mu.Unlock()
	for _, conn := range conns {
		if conn.id == id && conn.owns(t.call.Conn, t.call.Subject) {
			t.conn, t.connState = conn, conn.state
			return nil
		}
	}
	return &refusalError{refusal(connect.CodeFailedPrecondition, "connection_gone", notExecuted,
		"the connection of this call is not open; connect again")}
}

// createConnState runs the hook, in which the actor can only be read.
func (t *turn) createConnState(b *body) error {
	hook := b.inst.typ.hooks.createConnState
	if hook == nil {
		return nil
	}
	writing := b.turn
	if writing != nil {
		b.turn = nil
		defer func() { b.turn = writing }()
	}
	b.reads.Add(1)
	defer b.reads.Add(-1)
	return t.within("create-conn-state", b.inst.typ.limits.hooks.Connect, func() (err error) {
		t.connState, err = hook(b.actor, t, t.params)
		return err
	})
}
