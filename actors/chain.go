// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/internal/seedbug"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
)

// defaultCallDepth is how many turns may wait for each other in one chain of calls.
const defaultCallDepth = 16

// Reasons of calls that would wait for themselves.
const (
	reasonCycle = "call_cycle"
	reasonDepth = "call_depth"
)

// chain returns the actors whose turns wait for a call that the turn makes, the
// turn's own last.
func (t *turn) chain() []store.Address {
	if t.call == nil || seedbug.On(15) {
		return []store.Address{t.inst.addr}
	}
	return append(slices.Clip(t.call.Chain), t.inst.addr)
}

// checkChain refuses a call that comes back to an actor whose turn waits for it, and
// one that is too deep. Nothing has run for the call yet.
func (h *Host) checkChain(call *Call) error {
	call.host = h // for the hook that runs next
	if len(call.Chain) == 0 {
		return nil
	}
	addr := call.Address
	if !call.ID.IsZero() {
		i := h.table.withID(call.ID)
		if i == nil {
			return nil // those who wait are in memory
		}
		addr = i.addr
	}
	if n := slices.Index(call.Chain, addr); n >= 0 {
		return cycleError(append(slices.Clone(call.Chain[n:]), addr))
	}
	if len(call.Chain) >= h.callDepth {
		return &refusalError{refusal(connect.CodeFailedPrecondition, reasonDepth, notExecuted,
			"%d actors wait for each other already, and no more may: %s", len(call.Chain), route(append(slices.Clip(call.Chain), addr)))}
	}
	return nil
}

// cycleError names the actors of a ring of calls; the last one is the first one.
func cycleError(ring []store.Address) error {
	return &refusalError{refusal(connect.CodeFailedPrecondition, reasonCycle, notExecuted,
		"the call would wait for itself: %s", route(ring))}
}

func route(actors []store.Address) string {
	var b strings.Builder
	for n, addr := range actors {
		if n > 0 {
			b.WriteString(" → ")
		}
		b.WriteString(addr.Type)
		b.WriteByte('/')
		b.WriteString(addr.Key)
	}
	return b.String()
}

// isChainError reports whether an error says that a chain of calls is wrong. Each
// actor of the chain may pass it on as it is.
func isChainError(err *connect.Error) bool {
	if err.Code() != connect.CodeFailedPrecondition {
		return false
	}
	info := errorInfo(err)
	return info.GetDomain() == runtimeDomain && (info.GetReason() == reasonCycle || info.GetReason() == reasonDepth)
}

// errorInfo returns what an error says to programs; nil if nothing.
func errorInfo(err *connect.Error) *errdetails.ErrorInfo {
	for _, detail := range err.Details() {
		info := new(errdetails.ErrorInfo)
		if detail.Type == string(info.ProtoReflect().Descriptor().FullName()) && proto.Unmarshal(detail.Value, info) == nil {
			return info
		}
	}
	return nil
}

// waits knows which turns wait for which others in direct calls, to find the call
// that closes a ring: two chains that call each other are no cycle of either. (See
// Chandy, Misra and Haas, Distributed Deadlock Detection, 1983, for the graph.)
type waits struct {
	mu sync.Mutex
	at map[*instance][]wait // guarded by mu; by the actor that waits
}

// wait is a turn that waits for the turn of its call.
type wait struct{ from, to *turn }

// enter records that a turn waits for another one, which is in its mailbox or runs.
// It fails if the two are part of a ring of turns, none of which could go on.
func (w *waits) enter(from, to *turn) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at == nil {
		w.at = make(map[*instance][]wait)
	}
	w.at[from.inst] = append(w.at[from.inst], wait{from, to})
	if ring := w.ring(from, to, make(map[*turn]bool)); ring != nil {
		return cycleError(append([]store.Address{from.inst.addr}, ring...))
	}
	return nil
}

func (w *waits) leave(from, to *turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.at[from.inst]
	if n := slices.Index(rest, wait{from, to}); n >= 0 {
		rest = slices.Delete(rest, n, n+1)
	}
	if len(rest) == 0 {
		delete(w.at, from.inst)
		return
	}
	w.at[from.inst] = rest
}

// ring walks from a turn to all that it waits for, and returns the actors on the way
// back to the turn from; nil if there is none. A turn in a mailbox waits for whoever
// runs there, one that runs for its own calls.
func (w *waits) ring(from, at *turn, seen map[*turn]bool) []store.Address {
	if seen[at] {
		return nil
	}
	seen[at] = true
	queued := at.status.Load() == turnQueued
	for _, next := range w.at[at.inst] {
		switch {
		case !queued && next.from != at:
			continue
		case next.from == from:
			return []store.Address{at.inst.addr}
		}
		if rest := w.ring(from, next.to, seen); rest != nil {
			return append([]store.Address{at.inst.addr}, rest...)
		}
	}
	return nil
}

// answerCaller waits for the answer of a turn that another turn waits for.
func (h *Host) answerCaller(ctx context.Context, t *turn) error {
	from := t.call.caller
	defer h.waits.leave(from, t)
	if err := h.waits.enter(from, t); err != nil && h.withdraw(t) {
		return err
	}
	return h.answer(ctx, t)
}

// withdraw takes a turn out of its mailbox again; it fails if the turn has begun.
func (h *Host) withdraw(t *turn) bool {
	if !t.status.CompareAndSwap(turnQueued, turnSealed) {
		return false
	}
	t.inst.mu.Lock()
	defer t.inst.mu.Unlock()
	t.inst.queue.remove(t)
	t.inst.dispatchLocked()
	return true
}

// Relay makes the error of a called actor the caller's own, with its code, reason,
// message and metadata: what an actor returns as it got it from a call is internal
// for its own caller, as any error that the author did not make. Errors of other
// kinds, and nil, are returned as they are.
//
//	if _, err := client.Withdraw(ctx, request); err != nil {
//		return nil, actors.Relay(err)
//	}
func Relay(err error) error {
	wire, ok := errors.AsType[*connect.Error](err)
	if !ok || !wire.IsRemote() {
		return err
	}
	info := errorInfo(wire)
	return &Error{code: wire.Code(), reason: info.GetReason(), message: wire.Message(), metadata: info.GetMetadata(), cause: err}
}
