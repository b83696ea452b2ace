// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"strings"
	"testing"
	"time"
)

const patience = 10 * time.Second

// at makes an operation that takes from one moment to another.
func at(call, back time.Duration, o Operation) Operation {
	o.Register, o.Call, o.Return = "r", call, back
	return o
}

func done(o Operation) Operation   { o.Outcome = Done; return o }
func denied(o Operation) Operation { o.Outcome = NotDone; return o }
func write(value, previous, version int64) Operation {
	return Operation{Kind: Write, Value: value, Previous: previous, Version: version}
}

func read(value, version int64) Operation {
	return Operation{Kind: Read, Previous: value, Version: version}
}

func swap(value, expected, previous, version int64) Operation {
	return Operation{Kind: Swap, Value: value, Expected: expected, Previous: previous, Version: version, Swapped: previous == expected}
}
func later(value int64) Operation { return Operation{Kind: Later, Value: value} }

// TestHistories holds which histories are good, and what is said about bad ones.
func TestHistories(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		operations []Operation
		log        Log
		problems   []string // a part of each; none: it is good
	}{
		"nothing": {},
		"one after the other": {
			operations: []Operation{
				at(0, 1, done(read(0, 0))),
				at(2, 3, done(write(1, 0, 1))),
				at(4, 5, done(swap(2, 1, 1, 2))),
				at(6, 7, done(swap(3, 1, 2, 2))),
				at(8, 9, done(read(2, 2))),
			},
			log: Log{1, 2},
		},
		"at the same time": {
			operations: []Operation{
				at(0, 10, done(write(1, 2, 2))),
				at(1, 9, done(write(2, 0, 1))),
				at(2, 8, done(read(2, 1))),
			},
			log: Log{2, 1},
		},
		"unknown, and never": {
			operations: []Operation{at(0, 1, write(1, 0, 0)), at(2, 3, done(read(0, 0))), at(4, 5, swap(2, 0, 0, 0))},
		},
		"unknown, and much later": {
			operations: []Operation{
				at(0, 1, write(1, 0, 0)),
				at(2, 3, done(read(0, 0))),
				at(4, 5, done(write(2, 0, 1))),
				at(6, 7, done(read(1, 2))),
			},
			log: Log{2, 1},
		},
		"unknown, and not before it began": {
			operations: []Operation{at(0, 1, done(read(1, 1))), at(2, 3, write(1, 0, 0))},
			log:        Log{1},
			problems:   []string{"there is no order"},
		},
		"later": {
			operations: []Operation{at(0, 1, done(later(1))), at(2, 3, done(read(0, 0))), at(4, 5, done(read(1, 1)))},
			log:        Log{1},
		},
		"later, and lost": {
			operations: []Operation{at(0, 1, done(later(1)))},
			problems:   []string{"is lost"},
		},
		"acknowledged and lost": {
			operations: []Operation{at(0, 1, done(write(1, 0, 1))), at(2, 3, done(read(0, 0)))},
			problems:   []string{"is lost", "there is no order"},
		},
		"seen and lost": { // nobody was promised it, but somebody has seen it
			operations: []Operation{at(0, 1, write(1, 0, 0)), at(2, 3, done(read(1, 1))), at(4, 5, done(read(0, 0)))},
			problems:   []string{"there is no order"},
		},
		"denied and done": {
			operations: []Operation{at(0, 1, denied(write(1, 0, 0)))},
			log:        Log{1},
			problems:   []string{"was denied"},
		},
		"done twice": {
			operations: []Operation{at(0, 1, done(write(1, 0, 1)))},
			log:        Log{1, 1},
			problems:   []string{"took effect twice"},
		},
		"from nobody": {
			log:      Log{7},
			problems: []string{"nobody has asked for"},
		},
		"a stale read": { // the version before, after the write had been answered
			operations: []Operation{at(0, 1, done(write(1, 0, 1))), at(2, 3, done(write(2, 1, 2))), at(4, 5, done(read(1, 1)))},
			log:        Log{1, 2},
			problems:   []string{"there is no order"},
		},
		"two owners": { // each swaps the same value for one of its own
			operations: []Operation{at(0, 9, done(swap(1, 0, 0, 1))), at(0, 9, done(swap(2, 0, 0, 1)))},
			log:        Log{1},
			problems:   []string{"is lost", "there is no order"},
		},
		"a swap that lies": {
			operations: []Operation{at(0, 1, done(Operation{Kind: Swap, Value: 1, Expected: 0, Previous: 0, Version: 0}))},
			problems:   []string{"there is no order"},
		},
		"a swap that has swapped and denies it": {
			operations: []Operation{at(0, 1, done(swap(1, 5, 0, 0)))},
			log:        Log{1},
			problems:   []string{"written nothing"},
		},
		"in the order of the log, against that of time": {
			operations: []Operation{at(0, 1, done(write(1, 0, 2))), at(2, 3, done(write(2, 0, 1)))},
			log:        Log{2, 1},
			problems:   []string{"there is no order"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, Check(c.operations, c.log, patience), c.problems)
		})
	}
}

// TestStreams holds which streams are good, and what is said about bad ones.
func TestStreams(t *testing.T) {
	t.Parallel()
	log := Log{10, 20, 30, 40}
	event := func(version int64) sight { return sight{value: version * 10, version: version} }
	gap := sight{gap: true}
	begin := func(version int64) sight { return sight{version: version, begins: true} }
	for name, c := range map[string]struct {
		seen     []sight
		problems []string
	}{
		"all":                    {seen: []sight{event(1), event(2), event(3), event(4)}},
		"from the middle":        {seen: []sight{event(3), event(4)}},
		"with a gap":             {seen: []sight{event(1), gap, event(4)}},
		"with a gap of nothing":  {seen: []sight{event(1), gap, event(2), event(3), event(4)}},
		"with a gap at the end":  {seen: []sight{event(1), gap, begin(4)}},
		"too late for all":       {seen: []sight{begin(4)}},
		"begins, and misses one": {seen: []sight{begin(1), event(3), event(4)}, problems: []string{"saw version 3 after 1"}},
		"begins behind":          {seen: []sight{begin(3), event(4), gap, begin(2), event(3), event(4)}, problems: []string{"begins at version 2 after 4"}},
		"begins again":           {seen: []sight{begin(0), event(1), begin(4)}, problems: []string{"was not told of a gap"}},
		"begins beyond the end":  {seen: []sight{begin(5)}, problems: []string{"there are 4", "saw version 5 last"}},
		"a gap, and no more":     {seen: []sight{event(4), gap}, problems: []string{"saw version 4 last"}},
		"one is lost":            {seen: []sight{event(1), event(2), event(4)}, problems: []string{"saw version 4 after 2"}},
		"one comes twice":        {seen: []sight{event(1), event(2), event(2), event(3), event(4)}, problems: []string{"saw version 2 after 2"}},
		"a gap goes back":        {seen: []sight{event(3), gap, event(2), event(3), event(4)}, problems: []string{"saw version 2 after 3"}},
		"out of order":           {seen: []sight{event(1), event(3), event(2), event(4)}, problems: []string{"saw version 3 after 1", "saw version 2 after 3", "saw version 4 after 2"}},
		"the last is lost":       {seen: []sight{event(1), event(2), event(3)}, problems: []string{"saw version 3 last"}},
		"nothing":                {problems: []string{"saw version 0 last"}},
		"of another value":       {seen: []sight{event(3), {value: 7, version: 4}}, problems: []string{"saw version 4 as 7"}},
		"of what is not durable": {seen: []sight{event(4), event(5)}, problems: []string{"saw version 5, and there are 4", "saw version 5 last"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, (&Stream{Name: "f", seen: c.seen}).Check(log), c.problems)
		})
	}
}

func compare(t *testing.T, got []error, want []string) {
	t.Helper()
	bad := len(got) != len(want)
	for n := range min(len(got), len(want)) {
		bad = bad || !strings.Contains(got[n].Error(), want[n])
	}
	if bad {
		t.Errorf("the problems are %v, want %q", got, want)
	}
}
