// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// Status says what an actor is doing.
type Status uint8

const (
	// StatusSleeping is an actor that is in its store only; the next call wakes
	// it.
	StatusSleeping Status = iota
	// StatusStarting is an actor that comes into memory.
	StatusStarting
	// StatusAwake is an actor in memory.
	StatusAwake
	// StatusCrashed is an actor that failed to wake and is not tried again
	// before [Description.RetryAt]; calls are refused meanwhile, with
	// unavailable and when to try again.
	StatusCrashed
	// StatusQuarantined is an actor whose stored state this server cannot use,
	// because it does not decode, a [Migrate] step fails on it or its bytes are
	// damaged, or one that [Host.Quarantine] was called for. Calls are refused,
	// the bytes are left as they are, until it is repaired, reset or destroyed or
	// [Host.Lift] is called. The former is not stored: a server that starts again,
	// perhaps with better code, tries again. The latter outlives the process.
	StatusQuarantined
	// StatusDestroyed is an actor whose destruction is being stored.
	StatusDestroyed
	// StatusElsewhere is an actor that another node runs, which alone knows more.
	StatusElsewhere
)

// String returns the status as a word, such as "awake".
func (s Status) String() string {
	switch s {
	case StatusSleeping:
		return "sleeping"
	case StatusStarting:
		return "starting"
	case StatusAwake:
		return "awake"
	case StatusCrashed:
		return "crashed"
	case StatusQuarantined:
		return "quarantined"
	case StatusDestroyed:
		return "destroyed"
	case StatusElsewhere:
		return "elsewhere"
	default:
		return "unknown"
	}
}

// Failure is the newest failure of an actor that the server remembers.
type Failure struct {
	// LastError says what went wrong, for those who run the server: it may hold
	// what callers must not see. Empty if nothing is remembered.
	LastError string
	// LastErrorAt is when.
	LastErrorAt time.Time
	// RetryAt is when a call may wake the actor again; zero unless its status is
	// [StatusCrashed].
	RetryAt time.Time
}

// statusOf returns the status of an actor at an address, and its newest failure.
func (h *Host) statusOf(i *instance, record store.Record, known crash) (Status, Failure) {
	f := Failure{LastError: known.text, LastErrorAt: known.at}
	if i != nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		switch {
		case i.destroying:
			return StatusDestroyed, f
		case i.body != nil:
			return StatusAwake, f
		case i.writing && !known.refuses(time.Now()):
			return StatusStarting, f
		}
	}
	switch {
	case record.Quarantined, record.Damaged, known.unusable != "":
		return StatusQuarantined, f
	case known.refuses(time.Now()):
		f.RetryAt = known.until
		return StatusCrashed, f
	}
	return StatusSleeping, f
}
