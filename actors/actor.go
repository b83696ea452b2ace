// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"
)

// NoState is the State of an actor whose service declares none.
type NoState = *emptypb.Empty

// NoEvent is the Event of an actor whose service has no subscription.
type NoEvent = *emptypb.Empty

// Actor is embedded by an author's struct and gives it its state, its events and
// its connections. State is the message that the service declares as its state,
// Event the response of its subscription.
//
// Its methods are for code that runs in a turn: the author's actions and hooks,
// on the goroutine that runs them. A turn has the actor to itself, read-only
// actions share it with each other. Streaming actions and the work of [Actor.Go]
// run beside the actor, where only [Actor.Turn], [Actor.ReadTurn], [Actor.Go],
// [Actor.WaitUntil], [Actor.KeepAwake], [Actor.Context] and what names the actor
// may be used. The rest panics there, or is a data race with a turn that runs,
// which the race detector reports.
type Actor[State, Event proto.Message] struct{ body *body }

// State returns the actor's state: one message, owned by the actor, that a writing
// turn changes in place. What a turn leaves there is durable before the turn's
// reply is sent; if the turn fails, the state is again what it was. A read-only
// action must not change it.
func (a *Actor[State, Event]) State() State {
	a.body.inTurn("State")
	return a.body.state.(State) //nolint:forcetypeassert // checked at registration
}

// Broadcast publishes an event to every connection. It leaves when the turn is
// durable, in the order of the turns. Unless its schema says otherwise the event is
// durable: it takes the next number of the actor's log, in the turn's commit, and a
// subscriber that missed it gets it when it resumes; see [RetainEvents]. The event
// is encoded at once; changing it later has no effect.
func (a *Actor[State, Event]) Broadcast(event Event) {
	a.body.publish("Broadcast", event, audience{})
}

// BroadcastExcept publishes an event to every connection but one. In the log it is
// as any other: the same client on another connection gets it when it resumes.
func (a *Actor[State, Event]) BroadcastExcept(except *Conn, event Event) {
	a.body.publish("BroadcastExcept", event, audience{except: except})
}

// SendTo sends an event to one connection. It never enters the durable log. A
// connection that is gone gets nothing.
func (a *Actor[State, Event]) SendTo(conn *Conn, event Event) {
	if conn != nil {
		a.body.publish("SendTo", event, audience{targeted: true, to: []*Conn{conn}})
	}
}

// Conns returns the actor's open connections, in the order in which they were
// opened.
func (a *Actor[State, Event]) Conns() []*Conn {
	a.body.inst.mu.Lock()
	defer a.body.inst.mu.Unlock()
	return slices.Clone(a.body.inst.conns)
}

// Destroy destroys the actor when the turn ends well: its state and its key are
// given up in the turn's commit, its connections closed. A later call by the key
// finds a new actor.
func (a *Actor[State, Event]) Destroy() {
	a.body.writing("Destroy").destroy = true
}

// Key returns the segments of the actor's key.
func (a *Actor[State, Event]) Key() []string {
	key, _ := wire.DecodeKey(a.body.inst.addr.Key) // our own encoding
	return key
}

// Namespace returns the actor's tenant.
func (a *Actor[State, Event]) Namespace() string { return a.body.inst.addr.Namespace }

// ID returns the id of this incarnation.
func (a *Actor[State, Event]) ID() string {
	a.body.inst.mu.Lock()
	defer a.body.inst.mu.Unlock()
	return a.body.inst.idText
}

// Log returns a logger that names the actor.
func (a *Actor[State, Event]) Log() *slog.Logger { return a.body.inst.logger() }

func (a *Actor[State, Event]) bind(b *body) { a.body = b }

func (a *Actor[State, Event]) messages() (state, event protoreflect.MessageType) {
	return typeOf[State](), typeOf[Event]()
}

// typeOf returns M's message type, nil for the empty message.
func typeOf[M proto.Message]() protoreflect.MessageType {
	var m M
	if mt := m.ProtoReflect().Type(); mt.Descriptor().FullName() != "google.protobuf.Empty" {
		return mt
	}
	return nil
}

// ConnState returns the connection state that the call runs with: that of its
// connection, or the one made of its parameters. It is nil without either.
func ConnState[C proto.Message](ctx context.Context) C {
	var none C
	if t := servedBy(ctx); t != nil {
		if state, ok := t.connState.(C); ok {
			if t.conn != nil {
				t.conn.touch()
			}
			return state
		}
	}
	return none
}

// ConnOf returns the connection that the call belongs to, nil outside one.
func ConnOf(ctx context.Context) *Conn {
	if t := servedBy(ctx); t != nil {
		return t.conn
	}
	return nil
}

// SubjectOf returns who calls; empty is anonymous.
func SubjectOf(ctx context.Context) string {
	if t := servedBy(ctx); t != nil && t.call != nil {
		return t.call.Subject
	}
	return ""
}

// body is an actor in memory. It is used by the turn that runs, and by read-only
// turns together.
type body struct {
	inst     *instance
	actor    Instance
	handlers []connect.ServerFunc
	state    proto.Message
	snapshot []byte        // state, encoded, as the newest turn left it
	turn     *turn         // the writing turn that runs
	record   *store.Record // of an actor that sleeps while a turn touches its rows; else nil
	log      eventLog
	replies  *replies     // nil until a call carries an idempotency key
	beside   *background  // guarded by the instance's mu; nil until it is needed
	reads    atomic.Int32 // read-only turns that run
}

// inTurn panics where no turn is open. Every writing turn writes b.turn, so that
// the race detector sees a use beside one.
func (b *body) inTurn(what string) {
	if b.turn == nil && b.reads.Load() == 0 {
		outside(what)
	}
}

// writing returns the writing turn that runs.
func (b *body) writing(what string) *turn {
	if b.turn == nil {
		panic("actors: " + what + " in a read-only action or outside a turn; only a writing action or hook may change the actor") //nolint:forbidigo // misuse by the author: it ends that action
	}
	return b.turn
}

// reading returns the turn that ctx belongs to, which may read the actor.
func (b *body) reading(ctx context.Context, what string) *turn {
	if b.turn != nil {
		return b.turn
	}
	if t := turnOf(ctx); t != nil && t.inst == b.inst {
		return t
	}
	panic("actors: " + what + " with a context that is not that of a turn of the actor") //nolint:forbidigo // misuse by the author: it ends that action
}

// restore makes the state what it was before the turn.
func (b *body) restore() error {
	if b.state == nil {
		return nil
	}
	proto.Reset(b.state)
	return proto.Unmarshal(b.snapshot, b.state)
}

// serve runs one of the actor's generated handlers in a turn.
func (b *body) serve(t *turn) error {
	t.review(b)
	return b.handlers[t.method.index](t, t.method.Spec, &t.stream)
}
