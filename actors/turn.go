// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/proto"
)

// The life of a turn. A turn that is sealed can no longer commit, whatever its
// code still does; its caller has been answered.
const (
	turnQueued  uint32 = iota // waits for the actor
	turnRunning               // the author's code runs
	turnSettled               // has run; its answer may wait for a commit
	turnSealed                // given up by its caller or its time limit
)

// turn is one run of code with the actor: exclusive, or read-only beside others.
// It is the context of that code too: it has its caller's values and a deadline,
// not its caller's cancellation, so that a turn which has begun ends by itself.
type turn struct {
	parent   context.Context //nolint:containedctx // a turn is a context
	deadline time.Time
	queuedAt time.Time

	inst       *instance
	body       *body                        // what the turn runs on
	waking     *body                        // guarded by inst.mu; whose wake hook it runs, before that is in memory
	next, prev *turn                        // in the mailbox
	run        func(t *turn, b *body) error // what the turn does
	call       *Call                        // nil for the runtime's own turns
	method     *Method                      // nil for the runtime's own turns
	stream     turnStream
	info       *connect.CallInfo // guarded by ending; see callInfo

	readOnly bool
	borrows  bool // runs on its caller's goroutine
	shared   bool // runs beside other read-only turns
	rests    bool // its answer rests on no commit of its own
	exists   bool // resolve wants it absent; only a reply given before can answer
	kept     bool // the reply is to be kept for a repeated request
	destroy  bool // the actor ends with the turn
	sleep    bool // the actor leaves memory after the turn
	asleep   bool // the actor may stay asleep: see prepareAsleep

	params    proto.Message // of the connection that the call opens or stands for
	conn      *Conn         // whom the call belongs to
	opened    *Conn         // the connection that the turn opens
	connState proto.Message
	undo      []connUndo // of the connections that the turn may have changed

	events    []pendingEvent
	rows      overlay        // what the turn writes besides the state
	sizes     map[rowKey]int // of stored rows that it has read; see saw
	sent      *sent          // messages to other actors; nil without any
	refused   error          // what the turn fails with at its end
	published int32          // how many of events are events
	rowBytes  int            // of rows, of what they replaced, and of events
	kvKeys    int32          // of rows
	bytes     int32          // of the request, if it had to wait

	generation uint32
	status     atomic.Uint32
	hookLate   atomic.Bool             // the hook that runs took too long
	hook       atomic.Pointer[hookRun] // the hook that runs
	stored     *storedWork             // nil unless the turn does not wake the actor
	scheduled  *ScheduleRun            // nil unless a schedule runs
	enters     *body                   // whom the turn was entered at, by code beside it; else nil
	aside      *aside                  // what it does about such code; nil if nothing

	reply Reply
	err   error
	ready chan struct{} // holds one token once reply and err are final

	ending struct {
		sync.Mutex
		done   chan struct{}
		err    error
		after  map[int]func()
		serial int
	}
}

type turnKey struct{}

func turnOf(ctx context.Context) *turn {
	t, _ := ctx.Value(turnKey{}).(*turn)
	return t
}

// finish gives the answer to the caller. It is called once.
func (t *turn) finish(err error) {
	if err != nil {
		t.err = err
	}
	t.ready <- struct{}{}
}

// Deadline implements [context.Context].
func (t *turn) Deadline() (time.Time, bool) { return t.deadline, true }

// Value implements [context.Context].
func (t *turn) Value(key any) any {
	if _, ok := key.(turnKey); ok {
		return t
	}
	value := t.parent.Value(key)
	if info, ok := value.(*connect.CallInfo); ok && t.call != nil && info == t.call.Info {
		return t.callInfo(info)
	}
	return value
}

// callInfo is what the author's code sees of its call: the caller's metadata, and
// response metadata of its own, because a turn that was given up may still write
// some while its caller is being answered. It is made on demand.
func (t *turn) callInfo(outer *connect.CallInfo) *connect.CallInfo {
	t.ending.Lock()
	defer t.ending.Unlock()
	if t.info == nil {
		t.info = &connect.CallInfo{
			Spec: outer.Spec, PeerAddr: outer.PeerAddr, Protocol: outer.Protocol, Codec: outer.Codec,
			RequestEncoding: outer.RequestEncoding, ResponseEncoding: outer.ResponseEncoding,
		}
		*t.info.RequestHeader() = *outer.RequestHeader()
	}
	return t.info
}

// responseHeader returns the response metadata that the author's code set, or nil.
func (t *turn) responseHeader() *connect.Header {
	t.ending.Lock()
	defer t.ending.Unlock()
	if t.info == nil || t.info.ResponseHeader().Len() == 0 {
		return nil
	}
	return t.info.ResponseHeader()
}

// Done implements [context.Context]; the channel is made on demand.
func (t *turn) Done() <-chan struct{} {
	e := &t.ending
	e.Lock()
	defer e.Unlock()
	if e.done == nil {
		e.done = make(chan struct{})
		if e.err != nil {
			close(e.done)
		}
	}
	return e.done
}

// Err implements [context.Context].
func (t *turn) Err() error {
	t.ending.Lock()
	defer t.ending.Unlock()
	return t.ending.err
}

// AfterFunc lets package context attach children without a goroutine.
func (t *turn) AfterFunc(f func()) (stop func() bool) {
	e := &t.ending
	e.Lock()
	defer e.Unlock()
	if e.err != nil {
		go f()
		return func() bool { return false }
	}
	if e.after == nil {
		e.after = make(map[int]func())
	}
	id := e.serial
	e.serial++
	e.after[id] = f
	return func() bool {
		e.Lock()
		defer e.Unlock()
		_, pending := e.after[id]
		delete(e.after, id)
		return pending
	}
}

// end ends the turn's context.
func (t *turn) end(err error) {
	e := &t.ending
	e.Lock()
	defer e.Unlock()
	if e.err != nil {
		return
	}
	e.err = err
	if e.done != nil {
		close(e.done)
	}
	for _, f := range e.after {
		go f()
	}
	e.after = nil
}

// turnStream is what a generated handler reads its request from and writes its
// response to: memory, never a socket.
type turnStream struct {
	request proto.Message
	codec   Codec
	body    []byte
	limit   int
	sent    bool
	keep    bool     // keep the reply in binary too
	binary  []byte   // the reply in binary, to be kept
	small   [64]byte // what most replies fit into

	review   func(request, response proto.Message) error // unless nil, sees each response first
	received proto.Message                               // what the handler received, for review
}

// Receive hands the request over. The handler's message becomes the decoded one:
// both are of one Go type, and nobody else has the decoded one.
func (s *turnStream) Receive(dst any) error {
	if s.request == nil {
		return io.EOF
	}
	if s.review != nil {
		s.received, _ = dst.(proto.Message)
	}
	from, to := reflect.ValueOf(s.request), reflect.ValueOf(dst)
	if from.Type() != to.Type() {
		message, ok := dst.(proto.Message)
		if !ok {
			return fmt.Errorf("actors: a handler receives %T and its method takes %T", dst, s.request)
		}
		proto.Merge(message, s.request)
	} else {
		to.Elem().Set(from.Elem())
	}
	s.request = nil
	return nil
}

// SendHeaders implements [connect.ServerStream].
func (s *turnStream) SendHeaders() error { return nil }

// Send encodes the reply, inside the turn.
func (s *turnStream) Send(src any) error {
	message, ok := src.(proto.Message)
	if !ok {
		return fmt.Errorf("actors: a handler sends %T, which is not a message", src)
	}
	if s.sent {
		return errors.New("actors: a handler of a unary method sent two replies")
	}
	s.sent = true
	if s.review != nil {
		if err := s.review(s.received, message); err != nil {
			return err
		}
	}
	body, err := s.codec.Append(s.small[:0], message)
	if err != nil {
		return fmt.Errorf("encode the reply: %w", err)
	}
	if len(body) > s.limit {
		return &refusalError{refusal(connect.CodeResourceExhausted, "reply_too_large", notExecuted,
			"the reply has %d bytes and may have %d", len(body), s.limit)}
	}
	s.body = body
	if s.keep {
		if s.binary = body; s.codec.Name() != connect.CodecNameProto {
			if s.binary, err = proto.Marshal(message); err != nil {
				return fmt.Errorf("encode the reply: %w", err)
			}
		}
	}
	return nil
}

// newTurn prepares a turn of a call, or of the runtime itself when call is nil.
func (h *Host) newTurn(ctx context.Context, typ *actorType, call *Call, run func(*turn, *body) error) *turn {
	now := time.Now()
	ready, _ := h.tokens.Get().(chan struct{}) // the pool's only type
	t := &turn{
		parent:   ctx,
		queuedAt: now,
		deadline: now.Add(typ.limits.actionTimeout),
		run:      run,
		call:     call,
		ready:    ready,
	}
	if call != nil {
		t.method = call.Method
		if limit := call.Method.timeout; limit > 0 {
			t.deadline = now.Add(limit)
		}
		t.stream.request = call.Request
		t.stream.codec = call.Codec
		t.stream.limit = h.replyBytes
	}
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(t.deadline) {
		t.deadline = deadline
	}
	return t
}

// wants says whether the turn accepts the incarnation id.
func (t *turn) wants(id store.ID) bool {
	return t.call == nil || t.call.ID.IsZero() || t.call.ID == id
}
