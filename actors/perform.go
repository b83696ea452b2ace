// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"runtime/debug"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

// perform runs the turn's code and returns its change, or an error after it has
// undone what the code did.
func (i *instance) perform(t *turn) (*change, error) {
	if t.status.Load() != turnRunning {
		return nil, nil //nolint:nilnil // given up while the actor came into memory
	}
	b := t.body
	if t.stored != nil {
		return i.performStored(t)
	}
	if t.readOnly {
		b.reads.Add(1)
		err := protect(func() error { return t.read(b) })
		b.reads.Add(-1)
		if err != nil {
			if spoiled(err) {
				i.mu.Lock()
				i.dropLocked() // readers beside it keep what they have
				i.mu.Unlock()
			}
			if _, panicked := errors.AsType[*panicError](err); panicked {
				i.panicked(err)
			}
			return nil, err
		}
		return &change{body: b, eventHead: i.eventHead}, nil
	}
	b.turn = t
	err := protect(func() error {
		if err := t.run(t, b); err != nil {
			return err
		}
		if err := t.changedState(b); err != nil || !t.destroy {
			return err
		}
		return t.destroying(b)
	})
	b.turn = nil
	// From here on the turn can only be given up by the runtime.
	sealed := !t.status.CompareAndSwap(turnRunning, turnSettled)
	if err == nil && !sealed {
		var c *change
		err = protect(func() (err error) { c, err = i.collect(t, b); return err })
		if err == nil {
			return c, nil
		}
	}
	t.events, t.rows, t.destroy = nil, nil, false
	if t.kept {
		b.replies = nil // they count one that is not there, and lack those it replaced
	}
	_, panicked := errors.AsType[*panicError](err)
	if !panicked && !sealed && (seedbug.On(5) || b.restore() == nil) {
		return nil, err
	}
	i.mu.Lock()
	i.dropLocked()
	i.mu.Unlock()
	if panicked {
		i.panicked(err)
	}
	return nil, err
}

// protect runs the author's code and makes an error of a panic.
func protect(f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value: value, stack: debug.Stack()}
		}
	}()
	return f()
}

// destroying runs the destroy hook in the turn that destroys the actor.
func (t *turn) destroying(b *body) error {
	hook := b.inst.typ.hooks.destroy
	if hook == nil {
		return nil
	}
	return t.within("destroy", b.inst.typ.limits.hooks.Destroy, func() error { return hook(b.actor, t) })
}

// expire gives up a turn whose time is over, running or not. Its caller is
// answered; code that still runs can no longer commit.
func (t *turn) expire(err *refusalError) {
	switch {
	case t.status.CompareAndSwap(turnQueued, turnSealed):
	case t.status.CompareAndSwap(turnRunning, turnSealed):
		t.end(context.DeadlineExceeded)
		t.inst.host.stuck.report(t)
		if t.borrows { // its caller cannot answer: it is in the turn
			go func() {
				t.call.Detach(err.wire)
				t.finish(err)
			}()
			return
		}
	default:
		return
	}
	t.finish(err)
}

// errOutOfTime answers a turn that did not end in time.
var errOutOfTime = &refusalError{refusal(connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted,
	"the turn did not end in time and was rolled back")}
