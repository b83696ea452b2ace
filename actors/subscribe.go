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
	"time"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Subscription is an open connection and its stream. It belongs to the goroutine
// that opened it, which feeds it and closes it.
type Subscription struct {
	// Reply says who has answered; it has no body.
	Reply Reply

	host       *Host
	method     *Method
	conn       *Conn
	shared     bool     // Call.Shared
	behind     bool     // what the peer gets next is in the log
	frames     []*Frame // taken out of the connection's queue
	considered uint64   // how far the peer has seen the actor's log

	unwatch func() bool // ends what signals the connection at the end of ctx
	pulse   *time.Timer // signals the connection at pulseAt
	pulseAt time.Time
	sentAt  time.Time
	expires time.Time
}

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

// Close takes the connection away from its actor and runs the disconnect hook.
func (s *Subscription) Close() {
	if s.pulse != nil {
		s.pulse.Stop()
		s.unwatch()
	}
	s.host.disconnect(s.conn)
	s.host.subscribers.Done()
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

// Feed writes frames to sink until the stream ends: one that says who the
// connection is, what the connect hook sent, then every event in commit order, and
// heartbeats. It returns nil after a closing frame, ctx's error when the peer is
// gone, and a *[connect.Error] or the sink's own error otherwise.
func (s *Subscription) Feed(ctx context.Context, sink Sink) error {
	s.begin(ctx)
	for {
		switch sent, why, err := s.drain(ctx, sink); {
		case err != nil:
			return err
		case sent:
			continue
		case why != nil:
			return s.end(sink, why)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if err := s.beat(sink); err != nil {
			return err
		}
		// A plain receive: events, the end of ctx and the pulse all signal the
		// connection, because a stream's goroutine spends its life here and a
		// select would double its stack.
		<-s.conn.signaled
	}
}

// begin sets up what signals the connection besides its events.
func (s *Subscription) begin(ctx context.Context) {
	if s.host.closing.Load() {
		s.conn.close(closing{reason: troupev1.CloseReason_CLOSE_REASON_SHUTDOWN, message: "the server is stopping", reconnectAfter: time.Second})
	}
	s.unwatch = context.AfterFunc(ctx, s.conn.signal)
	s.sentAt = time.Now()
	s.expires = s.host.expiry(s.sentAt)
	s.pulseAt = s.nextPulse()
	s.pulse = time.AfterFunc(s.pulseAt.Sub(s.sentAt), s.conn.signal)
}

// drain sends what waits in the connection's queue, or else in the log.
func (s *Subscription) drain(ctx context.Context, sink Sink) (sent bool, why *closing, err error) {
	if s.behind {
		return s.replay(ctx, sink)
	}
	s.frames, why = s.conn.take(s.frames)
	if len(s.frames) == 0 {
		return false, why, nil
	}
	return true, why, s.send(sink, s.frames)
}

// send writes frames in order.
func (s *Subscription) send(sink Sink, frames []*Frame) error {
	for n, frame := range frames {
		if err := sink.Send(frame, n+1 < len(frames)); err != nil {
			return err
		}
		s.considered = frame.head
		s.conn.sent()
	}
	s.conn.skipped.Store(0)
	s.sentAt = time.Now()
	return nil
}

// end sends the last frame of a stream. Its cursor is what the peer has seen: a
// slow peer's queue was dropped.
func (s *Subscription) end(sink Sink, why *closing) error {
	last := &troupev1.ConnectionClosing{Reason: why.reason, Message: why.message, Code: why.code}
	if !s.behind && why.reason != troupev1.CloseReason_CLOSE_REASON_SLOW {
		s.considered = s.conn.passed() // nothing is left in the queue
	}
	if why.reconnectAfter >= 0 {
		last.ReconnectAfter = durationpb.New(why.reconnectAfter)
	}
	if err := s.control(sink, &troupev1.EventInfo{Control: &troupev1.EventInfo_Closing{Closing: last}}); err != nil {
		return err
	}
	if why.reason == troupev1.CloseReason_CLOSE_REASON_SLOW {
		return retryable(refusal(connect.CodeResourceExhausted, "slow_subscriber", notExecuted, "%s", why.message), 0)
	}
	return nil
}

// control sends a control frame.
func (s *Subscription) control(sink Sink, info *troupev1.EventInfo) error {
	i := s.conn.inst
	info.Cursor, info.Head, info.Time = cursorText(s.conn.cursors, s.considered), s.considered, timestamppb.Now()
	frame, err := i.typ.events.controlFrame(info)
	if err != nil {
		return err
	}
	return sink.Send(frame, false)
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
