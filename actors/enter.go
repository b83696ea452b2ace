// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// Turn runs do in a writing turn. It is how code that runs beside the actor, such
// as a streaming action or the work of [Actor.Go], reaches the actor's state.
//
// The turn waits for its place among the calls of the actor, in order of arrival,
// and leaves it when ctx ends first. One that has begun goes on: do gets a context
// with ctx's values and a deadline, not its cancellation. Turn returns after do
// has, and after everything that it changed is durable; do's error rolls the turn
// back and is returned as it is. The turn's own time limit is that of an action.
//
// Turn fails at once inside a turn, which would wait for itself, and with aborted,
// reason actor_restarted, once the actor has left the memory that a belongs to: it
// was destroyed, it slept, or it was loaded again after a panic or a commit that
// failed.
func (a *Actor[State, Event]) Turn(ctx context.Context, do func(ctx context.Context) error) error {
	return a.body.enter(ctx, "Turn", false, do)
}

// ReadTurn is [Actor.Turn] for reading: do runs beside other read-only turns and
// must change nothing. What it has read is durable when ReadTurn returns.
func (a *Actor[State, Event]) ReadTurn(ctx context.Context, do func(ctx context.Context) error) error {
	return a.body.enter(ctx, "ReadTurn", true, do)
}

// What has become of the function of a turn that was entered.
const (
	functionWaits uint32 = iota
	functionBegun
	functionDropped
)

// enter runs do in a turn of code that runs beside the actor.
func (b *body) enter(ctx context.Context, what string, readOnly bool, do func(ctx context.Context) error) error {
	i, h := b.inst, b.inst.host
	stream := streamOf(ctx)
	switch {
	case insideTurn():
		return fmt.Errorf("actors: %s inside a turn, which would wait for itself: the code that runs has its turn already", what)
	case stream != nil && stream.body == b && stream.method.ReadOnly && !readOnly:
		return fmt.Errorf("actors: Turn in %s, which is declared NO_SIDE_EFFECTS: use ReadTurn", stream.method.Spec.Procedure)
	case ctx.Err() != nil:
		return ended(ctx)
	}
	var function atomic.Uint32
	returned := make(chan struct{})
	t := h.newTurn(ctx, i.typ, nil, func(t *turn, _ *body) error {
		if !function.CompareAndSwap(functionWaits, functionBegun) {
			return errOutOfTime
		}
		defer close(returned)
		return do(t)
	})
	t.enters, t.readOnly = b, readOnly
	if err := i.enqueueEntering(t); err != nil {
		return restarted(err)
	}
	select {
	case <-t.ready:
	case <-ctx.Done():
		if t.status.CompareAndSwap(turnQueued, turnSealed) {
			i.leave(t)
			return ended(ctx)
		}
		<-t.ready // the function may use what its caller has
	}
	h.tokens.Put(t.ready)
	if !function.CompareAndSwap(functionWaits, functionDropped) {
		<-returned // later than the answer if the turn was past its limit
	}
	if stream != nil && stream.body == b && !readOnly {
		stream.account(t.err)
	}
	if panicked, ok := errors.AsType[*panicError](t.err); ok {
		i.logger().Error("a turn panicked", slog.Any("error", panicked), slog.String("stack", string(panicked.stack)))
	}
	return restarted(t.err)
}

func (i *instance) enqueueEntering(t *turn) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.host.silent.Load() {
		return errStopping
	}
	return i.enqueueLocked(t)
}

// leave takes a turn out of the mailbox whose caller goes away.
func (i *instance) leave(t *turn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.queue.remove(t)
	i.dispatchLocked() // who waited behind it may run beside the readers that run
}

// account notes what a turn did that a streaming action entered.
func (s *Stream) account(err error) {
	switch {
	case err == nil:
		s.note(troupev1.Outcome_OUTCOME_COMMITTED)
	case errors.Is(err, errUnknownOutcome):
		s.note(unknown)
	}
}

// restarted tells a caller beside the actor that its actor is no longer there.
func restarted(err error) error {
	if errors.Is(err, errIncarnationGone) {
		return errRestarted
	}
	return err
}

// ended is the error about work whose context has ended.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if _, ok := errors.AsType[*refusalError](cause); ok {
		return cause
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return &refusalError{refusal(connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted, "the time of this work is over").WithCause(cause)}
	}
	return &refusalError{refusal(connect.CodeCanceled, "canceled", notExecuted, "this work was cancelled").WithCause(cause)}
}

var (
	// errRestarted answers work that is beside an actor no longer in memory.
	errRestarted error = &refusalError{retryable(refusal(connect.CodeAborted, "actor_restarted", notExecuted,
		"the actor was destroyed or loaded again while this ran beside it"), 0)}
	// errStopping answers work that is beside an actor of a server that stops.
	errStopping error = &refusalError{retryable(refusal(connect.CodeUnavailable, "shutting_down", notExecuted,
		"the server is stopping"), time.Second)}
)

// outside reports the use of an actor by code that has no turn.
func outside(what string) {
	panic("actors: " + what + " outside a turn; code that runs beside the actor enters one by Turn") //nolint:forbidigo // misuse by the author: it ends that work
}

// Where the code of a turn begins, and that of what runs beside the actor.
var (
	turnEntry   = entryOf((*instance).execute)
	streamEntry = entryOf((*Stream).run)
	workEntry   = entryOf((*work).serve)
)

func entryOf(function any) uintptr { return reflect.ValueOf(function).Pointer() }

// insideTurn reports whether the calling goroutine runs the code of a turn. It
// looks at the stack, because a context may be lost on the way and a turn that
// waits for itself would wait until its time is over.
func insideTurn() bool {
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		for _, pc := range pcs[:n] {
			f := runtime.FuncForPC(pc - 1)
			if f == nil {
				continue
			}
			switch f.Entry() {
			case turnEntry:
				return true
			case streamEntry, workEntry:
				return false
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}
