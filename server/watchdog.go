// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"sync"
	"time"
)

// watchdog does something to a request that takes too long: it makes reads or
// writes fail. One timer that is armed and disarmed again costs a fraction of
// setting a deadline on the connection each time, and on HTTP/2 a deadline that
// has passed between two writes would end the stream.
type watchdog struct {
	bite  func()
	timer *time.Timer // nil until it is armed for the first time

	mu    sync.Mutex
	armed bool // guards against a bite after disarm: the response is gone by then
}

// arm has bite called after d unless disarm is called first.
func (w *watchdog) arm(d time.Duration) {
	w.mu.Lock()
	w.armed = true
	w.mu.Unlock()
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.fire)
		return
	}
	w.timer.Reset(d)
}

// disarm returns when bite will not be called any more and is not running. It
// reports whether the timer can be armed again.
func (w *watchdog) disarm() bool {
	w.mu.Lock()
	w.armed = false
	w.mu.Unlock()
	return w.timer == nil || w.timer.Stop()
}

// rest disarms so that the timer can be armed again in any case.
func (w *watchdog) rest() {
	if !w.disarm() {
		w.timer = nil // it has fired already and must not meet another use
	}
}

func (w *watchdog) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed {
		w.armed = false
		w.bite()
	}
}
