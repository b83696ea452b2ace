// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import "runtime/debug"

// goexit is the failure of code that has called [runtime.Goexit].
func goexit() *panicError {
	return &panicError{value: "the actor's code called runtime.Goexit", stack: debug.Stack()}
}

// exited settles a turn whose code has called [runtime.Goexit], as a test's FailNow
// does: like a panic, but nothing stops it, and the goroutine ends with the deferred
// functions, of which this is one.
func (i *instance) exited(t *turn) {
	err := goexit()
	waking := t.body == nil && t.stored == nil
	sealed := !t.status.CompareAndSwap(turnRunning, turnSettled)
	t.events, t.destroy = nil, false
	i.mu.Lock()
	i.dropLocked()
	i.mu.Unlock()
	if waking && !sealed {
		i.crashed(i.id, err)
	} else {
		i.panicked(err)
	}
	if next := i.conclude(t, nil, err); next != nil {
		i.host.workers.start(next)
	}
	if t.borrows && !sealed { // its caller ends with it
		t.call.Detach(wireError(t, i.host.log, t.method, err))
	}
}
