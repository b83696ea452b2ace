// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"
	"sync"
	"time"
)

// Kind is what a caller asks for.
type Kind uint8

// The kinds of operations.
const (
	Read Kind = iota
	Write
	Swap
	// Later asks for a write that follows by itself; its answer does not say when.
	Later
)

func (k Kind) String() string { return [...]string{"read", "write", "swap", "later"}[k] }

// Outcome is what a caller knows of the effect of its operation.
type Outcome uint8

// The outcomes of operations.
const (
	// Unknown: it may have had its effect, or have it yet.
	Unknown Outcome = iota
	// Done: it was answered.
	Done
	// NotDone: it was refused, and has no effect.
	NotDone
)

// Operation is one request of one caller, with all its repetitions.
type Operation struct {
	Client   int
	Register string
	Kind     Kind
	Value    int64 // to be written; of one operation only
	Expected int64 // with Swap
	Call     time.Duration
	Return   time.Duration
	Outcome  Outcome
	Error    string // why it is not Done, for people

	// What the answer said, if Done.

	Previous int64 // the value before; with Read, the value
	Version  int64 // of the value that is there after it
	Swapped  bool
}

// writes reports whether the operation, if it is done, has written its value.
func (o Operation) writes() bool {
	return o.Kind == Write || o.Kind == Later || o.Kind == Swap && (o.Swapped || o.Outcome != Done)
}

func (o Operation) String() string {
	asked := o.Kind.String()
	switch o.Kind {
	case Read:
	case Swap:
		asked += fmt.Sprintf(" %d for %d", o.Value, o.Expected)
	case Write, Later:
		asked += fmt.Sprintf(" %d", o.Value)
	}
	said := "unknown: " + o.Error
	switch {
	case o.Outcome == NotDone:
		said = "not done: " + o.Error
	case o.Outcome == Done && o.Kind == Later:
		said = "done"
	case o.Outcome == Done:
		said = fmt.Sprintf("done: it was %d, version %d now", o.Previous, o.Version)
		if o.Kind == Swap {
			said += fmt.Sprintf(", swapped %t", o.Swapped)
		}
	}
	return fmt.Sprintf("%s: caller %d, %s to %s: %s: %s", o.Register, o.Client,
		o.Call.Round(time.Microsecond), o.Return.Round(time.Microsecond), asked, said)
}

// Recorder collects the operations of callers. It is safe for concurrent use.
type Recorder struct {
	began time.Time

	mu         sync.Mutex
	operations []Operation // guarded by mu
	values     int64       // guarded by mu; the newest that was given out
}

// NewRecorder returns a recorder whose time begins now.
func NewRecorder() *Recorder { return &Recorder{began: time.Now()} }

// Now is how much time has passed.
func (r *Recorder) Now() time.Duration { return time.Since(r.began) }

// Begin begins an operation: it gives it its value and notes when.
func (r *Recorder) Begin(o Operation) Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values++
	o.Value = r.values
	o.Call = r.Now()
	return o
}

// End notes an operation that has been answered or given up.
func (r *Recorder) End(o Operation) {
	o.Return = r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, o)
}

// Operations returns what was recorded, by register.
func (r *Recorder) Operations() map[string][]Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string][]Operation)
	for _, o := range r.operations {
		all[o.Register] = append(all[o.Register], o)
	}
	return all
}
