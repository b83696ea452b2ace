// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"maps"
	"slices"
	"time"
)

// model is what the store must hold, as a plain value.
type model struct {
	actors map[string]*actor // by key
	dead   []string          // ids of incarnations that are no more
}

// actor is one actor that exists.
type actor struct {
	id       string // empty until it has been seen
	revision uint64 // turns that were committed
	count    int64  // its state
	head     uint64 // the number of its newest event
	kv       map[string]string
	log      []event     // all that it has published
	due      []time.Time // of its schedules
	sent     []message   // not yet delivered

	courted bool // it has had schedules or sent messages: their attempts are revisions too

	// What the turn that runs leaves, apart from the above.
	events    []event
	writes    int // of rows, whatever they change
	works     int // that go on beside it
	destroyed bool
}

// publish makes an event of the count.
func (a *actor) publish() event {
	a.head++
	e := event{a.count, a.head}
	a.log = append(slices.Clip(a.log), e)
	return e
}

// event is one event that an actor published.
type event struct {
	count int64
	head  uint64
}

func newModel() *model { return &model{actors: make(map[string]*actor)} }

// begin returns what a turn works on: a copy of the actor, or a new one.
func (m *model) begin(key string) *actor {
	if a := m.actors[key]; a != nil {
		return a.clone()
	}
	return &actor{revision: 1, kv: make(map[string]string)} // its creation
}

func (a *actor) clone() *actor {
	clone := *a
	clone.works = 0
	clone.kv, clone.sent = maps.Clone(a.kv), slices.Clone(a.sent)
	return &clone
}

// changed reports whether a turn that left a has something to commit.
func (a *actor) changed(before *actor) bool {
	return a.destroyed || a.count != before.count || a.head != before.head || a.writes != before.writes
}

// commit makes what a turn left the actor's state, and returns its events.
func (m *model) commit(key string, a *actor) []event {
	events := a.events
	a.events = nil
	if !a.destroyed {
		m.actors[key] = a
		return events
	}
	if a.id != "" {
		m.dead = append(m.dead, a.id)
	}
	delete(m.actors, key)
	return events
}
