// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"fmt"
	"time"
)

// State is where a subscription is in its life.
type State int

// The states of a subscription.
const (
	// Connecting: a stream is being opened.
	Connecting State = iota
	// Open: the server has accepted the stream.
	Open
	// Waiting: the last stream ended and the next one is not due yet.
	Waiting
	// Ended: there will be no other stream.
	Ended
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Connecting:
		return "connecting"
	case Open:
		return "open"
	case Waiting:
		return "waiting"
	case Ended:
		return "ended"
	}
	return fmt.Sprintf("state_%d", int(s))
}

// Status is what is known about a subscription at one moment.
type Status struct {
	// State is where the subscription is.
	State State
	// ConnectionID names the open connection. Set while Open.
	ConnectionID string
	// ActorID is the incarnation that the connection belongs to. Set while Open.
	ActorID string
	// Resumed reports whether the connection went on from a cursor without a
	// gap. Set while Open.
	Resumed bool
	// RetryIn is how long the subscription waits before it connects again. Set
	// while Waiting.
	RetryIn time.Duration
	// Err is why the last stream ended. Set while Waiting and Ended; nil if the
	// consumer stopped.
	Err error
}
