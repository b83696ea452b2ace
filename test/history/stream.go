// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"
	"slices"
	"sync"
)

// Stream is what one follower of a register has seen. It is safe for concurrent use.
type Stream struct {
	// Name is the follower's, for people.
	Name string

	mu   sync.Mutex
	seen []sight // guarded by mu
}

// sight is an event, or word of where the stream begins or that events were missed.
type sight struct {
	value, version int64
	begins, gap    bool
}

// Begins notes that the follower was told that what follows is what comes after a
// version: at first, and after a gap.
func (s *Stream) Begins(version int64) { s.add(sight{version: version, begins: true}) }

// Saw notes an event.
func (s *Stream) Saw(value, version int64) { s.add(sight{value: value, version: version}) }

// Gap notes that the follower was told of a gap.
func (s *Stream) Gap() { s.add(sight{gap: true}) }

func (s *Stream) add(one sight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, one)
}

// Newest returns the newest version of which the follower knows, 0 before the first one.
func (s *Stream) Newest() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range slices.Backward(s.seen) {
		if !one.gap {
			return one.version
		}
	}
	return 0
}

// Count returns how many events were seen, and of how many gaps it was told.
func (s *Stream) Count() (events, gaps int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.seen {
		switch {
		case one.gap:
			gaps++
		case !one.begins:
			events++
		}
	}
	return events, gaps
}

// Check returns what is wrong with what was seen, given the register's log: each event
// is one of the log's, and they come in its order, each once and none left out but
// where a gap was told. The follower has followed to the end.
func (s *Stream) Check(log Log) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var problems []error
	report := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(s.Name+": "+format, args...))
	}
	newest, told := int64(0), true // where it begins is its own affair
	for _, one := range s.seen {
		switch {
		case one.gap:
			told = true
			continue
		case one.begins && !told:
			report("begins again after version %d at %d, and was not told of a gap", newest, one.version)
		case one.begins && (one.version < newest || one.version > int64(len(log))):
			report("begins at version %d after %d, and there are %d", one.version, newest, len(log))
		case one.begins:
		case one.version < 1 || one.version > int64(len(log)):
			report("saw version %d, and there are %d", one.version, len(log))
		case log[one.version-1] != one.value:
			report("saw version %d as %d, and it is %d", one.version, one.value, log[one.version-1])
		case one.version <= newest:
			report("saw version %d after %d", one.version, newest)
		case one.version != newest+1 && !told:
			report("saw version %d after %d, and was not told of a gap", one.version, newest)
		}
		newest, told = one.version, false
	}
	if newest != int64(len(log)) || told && len(s.seen) > 0 {
		report("saw version %d last, and there are %d", newest, len(log))
	}
	return problems
}
