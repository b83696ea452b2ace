// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
)

// StreamTimeout bounds a streaming action. Default 1 h. Its context ends then, and
// the caller is answered with deadline_exceeded.
func StreamTimeout(d time.Duration) Option {
	return positive("StreamTimeout", d, func(l *limits) { l.streamTimeout = d })
}

// MessageSink takes the messages of one streaming action, in order. The host calls
// it from one goroutine at a time.
type MessageSink interface {
	// SendHeaders lets the caller see that the action has begun.
	SendHeaders() error
	// Send writes one message to the peer and may block. It does not keep the
	// message.
	Send(message proto.Message) error
}

// Stream is a streaming action that has been admitted: its actor is in memory and
// stays there. It belongs to the goroutine that opened it, which serves and closes
// it.
type Stream struct {
	// Reply says who has answered; it has no body.
	Reply Reply

	body    *body
	method  *Method
	opening *turn // what it serves: its call, connection and connection state
	hold    *hold
	effect  atomic.Int32 // of the turns that it entered; see note
}

// Stream admits a streaming action: it runs the hooks, creates an absent actor,
// brings it into memory and keeps it there. Every error is a *[connect.Error],
// ready for the wire. The caller must close the stream.
func (h *Host) Stream(ctx context.Context, call *Call) (*Stream, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	if call.IdempotencyKey != "" {
		return nil, refusal(connect.CodeInvalidArgument, reasonBadKey, notExecuted,
			"%s streams its answer, which no idempotency-key can give again", call.Method.Spec.Procedure)
	}
	params, err := h.admit(ctx, call)
	if err != nil {
		return nil, wireError(ctx, h.log, call.Method, err)
	}
	t, err := h.submit(ctx, call, params, true, openStream)
	if err != nil {
		return nil, wireError(ctx, h.log, call.Method, err)
	}
	h.subscribers.Add(1) // while in flight: Shutdown waits for both, in this order
	hold := t.aside.holds[0]
	return &Stream{Reply: t.reply, body: hold.body, method: call.Method, opening: t, hold: hold}, nil
}

// openStream is what the turn does in which a streaming action begins.
func openStream(t *turn, b *body) error {
	if err := t.join(b); err != nil {
		return err
	}
	b.inst.mu.Lock()
	defer b.inst.mu.Unlock()
	a := t.besides()
	a.holds = append(a.holds, b.holdLocked())
	return nil
}

// Close lets the actor go.
func (s *Stream) Close() {
	s.hold.release()
	s.body.inst.host.subscribers.Done()
}

// Serve runs the action beside its actor. Its context ends with ctx, at the
// action's limit, and when the actor stops. Serve returns nil or a *[connect.Error],
// ready for the wire.
func (s *Stream) Serve(ctx context.Context, sink MessageSink) error {
	i := s.body.inst
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, streamKey{}, s))
	defer cancel(nil)
	ctx, release := context.WithTimeoutCause(ctx, i.typ.limits.streamTimeout, errStreamTimeout)
	defer release()
	i.mu.Lock()
	own := s.body.besideLocked().ctx
	i.mu.Unlock()
	defer context.AfterFunc(own, func() { cancel(context.Cause(own)) })()
	peer := &peerStream{ctx: ctx, sink: sink, request: turnStream{request: s.opening.stream.request}}
	err := s.run(ctx, peer)
	if err == nil {
		return nil
	}
	if own.Err() != nil { // what ended it may have come to the action by another way
		cancel(context.Cause(own))
	}
	return s.verdict(ctx, peer, err)
}

// run runs the author's code.
//
//go:noinline
func (s *Stream) run(ctx context.Context, peer *peerStream) error {
	return protect(func() error { return s.body.handlers[s.method.index](ctx, s.method.Spec, peer) })
}

// verdict makes what the caller sees of an error of the action.
func (s *Stream) verdict(ctx context.Context, peer *peerStream, err error) error {
	_, authored := errors.AsType[*Error](err)
	_, refused := errors.AsType[*refusalError](err)
	_, panicked := errors.AsType[*panicError](err)
	switch {
	case peer.failed != nil && errors.Is(err, peer.failed):
		if wire, ok := errors.AsType[*connect.Error](peer.failed); ok { // the edge has made it
			return withOutcome(wire, s.outcome())
		}
	case ctx.Err() != nil && !authored && !refused && !panicked:
		err = ended(ctx) // the author's error came of it
	}
	return withOutcome(wireError(ctx, s.body.inst.host.log, s.method, err), s.outcome())
}

// note keeps what a turn that the action entered did.
func (s *Stream) note(effect troupev1.Outcome_Outcome) {
	if effect == troupev1.Outcome_OUTCOME_COMMITTED {
		s.effect.Store(int32(effect))
	} else {
		s.effect.CompareAndSwap(0, int32(effect))
	}
}

// outcome is what became of the turns that the action entered.
func (s *Stream) outcome() troupev1.Outcome_Outcome {
	if effect := s.effect.Load(); effect != 0 {
		return troupev1.Outcome_Outcome(effect)
	}
	return notExecuted
}

// withOutcome returns err with another outcome.
func withOutcome(err *connect.Error, outcome troupev1.Outcome_Outcome) *connect.Error {
	other := connect.NewError(err.Code(), err.Message()).WithCause(err.Unwrap())
	for _, detail := range err.Details() {
		message, unmarshalErr := connectproto.UnmarshalErrorDetail(detail)
		if was, ok := message.(*troupev1.Outcome); ok && unmarshalErr == nil {
			was.Outcome = outcome
			other = withDetail(other, was)
		} else {
			other = other.WithDetail(detail)
		}
	}
	return other
}

// errStreamTimeout ends a streaming action at its limit.
var errStreamTimeout error = &refusalError{refusal(connect.CodeDeadlineExceeded, "stream_timeout", notExecuted,
	"the streaming action reached its time limit")}

// peerStream is what a generated handler of a streaming action reads its request
// from and sends its messages to.
type peerStream struct {
	ctx     context.Context //nolint:containedctx // a stream is a call, and its methods take no context
	request turnStream
	sink    MessageSink
	failed  error // of the sink
}

// Receive implements [connect.ServerStream].
func (p *peerStream) Receive(dst any) error { return p.request.Receive(dst) }

// SendHeaders implements [connect.ServerStream].
func (p *peerStream) SendHeaders() error {
	p.failed = p.sink.SendHeaders()
	return p.failed
}

// Send implements [connect.ServerStream]. What it sends was durable before, because
// turns return when they are.
func (p *peerStream) Send(src any) error {
	message, ok := src.(proto.Message)
	if !ok {
		return fmt.Errorf("actors: a handler sends %T, which is not a message", src)
	}
	if p.ctx.Err() != nil {
		return ended(p.ctx)
	}
	p.failed = p.sink.Send(message)
	return p.failed
}

type streamKey struct{}

// streamOf returns the streaming action that the code runs in, or nil.
func streamOf(ctx context.Context) *Stream {
	s, _ := ctx.Value(streamKey{}).(*Stream)
	return s
}

// servedBy returns the turn whose call the code serves: the one that runs, or that
// in which the streaming action began which has entered it. It is nil outside both.
func servedBy(ctx context.Context) *turn {
	t := turnOf(ctx)
	if t == nil || t.enters != nil {
		if s := streamOf(ctx); s != nil {
			return s.opening
		}
	}
	return t
}
