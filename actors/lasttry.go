// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import "time"

// maxDeaths is how many attempts at a message or a run of a schedule may end with the
// process.
const maxDeaths = 3

const (
	// lastTryPause is how soon an attempt is looked at again that did not come through.
	lastTryPause = 250 * time.Millisecond
	// lastTryPatience is how long one that has come through may wait for its actor until
	// it is counted: meanwhile it keeps the others out.
	lastTryPatience = 10 * time.Second
)

// lastTries lets one attempt through at a time of those that may be the last. What has
// ended three processes is dead; and of what was at work when a process ended nobody
// knows which it was. The third time there is no more than one that it can have been
// of those that two have ended with, so that the others are not given up for it.
//
// Nobody waits: what does not come through stays in the store, and is looked at again.
type lastTries chan struct{}

func newLastTries() lastTries { return make(lastTries, 1) }

// isLast reports whether an attempt is the last one, if the process ends in it: deaths
// have been counted, and claimed says that an earlier process had it in hand.
func isLast(deaths uint32, claimed bool) bool {
	if claimed {
		deaths++
	}
	return deaths == maxDeaths-1
}

// begin reports whether no other one is under way. end must follow then.
func (l lastTries) begin() bool {
	select {
	case l <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l lastTries) end() { <-l }
