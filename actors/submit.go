// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/proto"
)

func (h *Host) call(ctx context.Context, call *Call) (*turn, error) {
	params, err := h.admit(ctx, call)
	if err != nil {
		return nil, err
	}
	return h.submit(ctx, call, params, call.Method.ReadOnly, runAction)
}

// admit checks a call and runs the hook that may refuse it. It returns the
// parameters that a call outside a connection carries.
func (h *Host) admit(ctx context.Context, call *Call) (params proto.Message, err error) {
	typ := call.Method.owner
	if err := h.checkChain(call); err != nil {
		return nil, err
	}
	if err := h.check(call.Request); err != nil {
		return nil, err
	}
	if !typ.hasConn || call.Conn != "" {
		return nil, nil //nolint:nilnil // there are none
	}
	if params, err = h.params(typ, call.Params); err != nil {
		return nil, err
	}
	return params, beforeConnect(ctx, typ, call, params)
}

// runAction is what the turn of an action does.
func runAction(t *turn, b *body) error {
	if t.call.Postmark != nil {
		if taken, err := t.take(t.call.Postmark); taken || err != nil {
			return err
		}
	}
	if t.repeatable() {
		return t.once(b)
	}
	if err := t.join(b); err != nil {
		return err
	}
	return b.serve(t)
}

// submit runs a turn at the actor that a call names, again if the actor is
// destroyed while the call waits and the key finds another one.
func (h *Host) submit(ctx context.Context, call *Call, params proto.Message, readOnly bool, run func(*turn, *body) error) (*turn, error) {
	return h.submitTurn(ctx, call, func(t *turn) {
		t.params, t.readOnly = params, readOnly
		if len(call.Chain) == 0 && call.Postmark == nil { // else a run of a schedule may have begun it
			h.pace.call(t.queuedAt)
		}
	}, run)
}

// submitTurn is submit for a turn that set has its way with first.
func (h *Host) submitTurn(ctx context.Context, call *Call, set func(*turn), run func(*turn, *body) error) (*turn, error) {
	for ended := false; ; {
		i, err := h.find(ctx, call)
		if err != nil {
			return nil, err
		}
		t := h.newTurn(ctx, call.Method.owner, call, run)
		set(t)
		err = h.await(ctx, i, t)
		if err == errIncarnationGone { //nolint:errorlint // our own, never wrapped, on the hot path
			continue
		}
		if err == errDestroyedInWake && !ended && call.ID.IsZero() { //nolint:errorlint // our own, never wrapped
			ended = true // the key is free: the next one is another actor
			continue
		}
		return t, err
	}
}

// find returns the instance that a call names.
func (h *Host) find(ctx context.Context, call *Call) (*instance, error) {
	typ := call.Method.owner
	if !h.takes(call) {
		return nil, errNotOwner
	}
	if call.ID.IsZero() {
		return h.table.get(h, typ, call.Address), nil
	}
	i := h.table.withID(call.ID)
	if i == nil {
		addr, err := h.addressOf(ctx, call.ID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil, notFound()
		case errors.Is(err, store.ErrCorrupt):
			return nil, dataLoss()
		case err != nil:
			return nil, fmt.Errorf("look up an actor id: %w", err)
		}
		if addr.Type != typ.name || addr.Namespace != call.Address.Namespace {
			return nil, notFound() // before the table gets an entry that nobody would forget
		}
		i = h.table.get(h, typ, addr)
	}
	if i.typ != typ || i.addr.Namespace != call.Address.Namespace {
		return nil, notFound()
	}
	return i, nil
}

// await queues a turn and waits until it is answered or its caller leaves.
func (h *Host) await(ctx context.Context, i *instance, t *turn) error {
	mine, err := i.enqueue(t)
	switch {
	case err != nil:
		return err
	case mine:
		h.workers.lend(t)
	}
	if t.call != nil && t.call.caller != nil {
		return h.answerCaller(ctx, t)
	}
	return h.answer(ctx, t)
}

// answer waits until a turn is answered or its caller leaves.
func (h *Host) answer(ctx context.Context, t *turn) error {
	select {
	case <-t.ready:
		h.tokens.Put(t.ready)
		return t.err
	case <-ctx.Done():
		return h.abandon(t, ctx.Err())
	}
}

// abandon answers a caller who leaves. A turn that waits never runs. One that runs
// past its caller's deadline is given up; one whose caller went away goes on. One
// that has run may be durable or not.
func (h *Host) abandon(t *turn, cause error) error {
	code, reason := connect.CodeCanceled, "canceled"
	if errors.Is(cause, context.DeadlineExceeded) {
		code, reason = connect.CodeDeadlineExceeded, "deadline_exceeded"
	}
	if t.status.CompareAndSwap(turnQueued, turnSealed) {
		t.inst.mu.Lock()
		t.inst.queue.remove(t)
		t.inst.dispatchLocked() // who waited behind it may run beside the readers that run
		t.inst.mu.Unlock()
		return &refusalError{refusal(code, reason, notExecuted, "the call ended while it waited for its turn")}
	}
	if code == connect.CodeDeadlineExceeded && t.status.CompareAndSwap(turnRunning, turnSealed) {
		t.end(context.DeadlineExceeded)
		return &refusalError{refusal(code, reason, notExecuted, "the turn did not end in time and was rolled back")}
	}
	if t.status.Load() == turnSealed { // somebody else's answer is on its way
		<-t.ready
		return t.err
	}
	h.subscribers.Go(func() { // while in flight: Shutdown waits for it
		if <-t.ready; t.err == nil && t.opened != nil {
			h.disconnect(t.opened)
		}
		t.inst.mu.Lock()
		t.releaseLocked() // of a streaming action
		t.inst.mu.Unlock()
	})
	return &refusalError{refusal(code, reason, unknown, "the call ended before its answer was ready")}
}

// check validates a message that came from outside.
func (h *Host) check(message proto.Message) error {
	if h.validate == nil {
		return nil
	}
	err := h.validate(message)
	if wire, ok := errors.AsType[*connect.Error](err); ok {
		return &refusalError{wire}
	}
	return err
}
