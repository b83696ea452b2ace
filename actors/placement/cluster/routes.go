// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"slices"
	"sync"

	"github.com/troupe-dev/troupe/actors/placement"
)

// Route implements [placement.Placement].
func (m *Member) Route(shard uint16) (placement.Route, bool) {
	if int(shard) >= len(m.routes) {
		return placement.Route{}, false
	}
	route := m.routes[shard].Load()
	if route == nil {
		return placement.Route{}, false
	}
	return route.Route, true
}

// known is a route and the authority's generation that it is of.
type known struct {
	placement.Route
	generation uint64
}

// learn keeps what is known of a holder, unless something newer is known. An authority
// that has forgotten a handover gives its epoch away again, so those of two generations
// say nothing of which is newer: what is heard last counts.
func (m *Member) learn(f Found, generation uint64) {
	route := &known{f.Route, generation}
	for at := &m.routes[f.Shard]; ; {
		old := at.Load()
		if old != nil && old.generation == generation && old.Epoch > f.Epoch || at.CompareAndSwap(old, route) {
			return
		}
	}
}

// asks gathers the questions of callers: while one is asked, those that come wait for
// the next one, which is asked for all of them.
type asks struct {
	mu   sync.Mutex // guards the fields below
	busy bool
	next *question
}

// question is asked once for many callers.
type question struct {
	shards []uint16
	done   chan struct{} // closed when the fields below are set
	found  map[uint16]placement.Route
	err    error
}

// Refresh implements [placement.Placement]. If the shard turns out to be this node's,
// the node holds it when Refresh returns.
func (m *Member) Refresh(ctx context.Context, shard uint16) (placement.Route, bool, error) {
	if int(shard) >= len(m.routes) {
		return placement.Route{}, false, nil
	}
	a := &m.asks
	a.mu.Lock()
	if a.next == nil {
		a.next = &question{done: make(chan struct{})}
	}
	q := a.next
	if !slices.Contains(q.shards, shard) {
		q.shards = append(q.shards, shard)
	}
	lead := !a.busy
	a.busy = true
	a.mu.Unlock()
	if lead && !m.goes(m.answerAll) {
		m.answerAll() // the node has not begun or is closed; who asks may still know
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		return placement.Route{}, false, ctx.Err()
	}
	route, ok := q.found[shard]
	return route, ok, q.err
}

// goes runs f on a goroutine of the member, unless that has been closed.
func (m *Member) goes(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.begun || m.ctx.Err() != nil {
		return false
	}
	m.work.Go(f)
	return true
}

// answerAll asks until nobody waits any more.
func (m *Member) answerAll() {
	a := &m.asks
	for {
		a.mu.Lock()
		q := a.next
		a.next, a.busy = nil, q != nil
		a.mu.Unlock()
		if q == nil {
			return
		}
		m.find(q)
		close(q.done)
	}
}

func (m *Member) find(q *question) {
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.askWithin())
	defer cancel()
	request := Request{Op: Find, Node: m.Self(), Shards: q.shards}
	answer, err := m.authority.Ask(ctx, request)
	if err != nil {
		q.err = err
		return
	}
	q.found = make(map[uint16]placement.Route, len(answer.Found))
	for _, f := range answer.Found {
		q.found[f.Shard] = f.Route
		if f.Node.ID == request.Node.ID {
			answer.Held = append(answer.Held, Grant{f.Shard, f.Epoch})
		}
		m.learn(f, answer.Generation)
	}
	for _, shard := range q.shards {
		if _, ok := q.found[shard]; !ok {
			m.routes[shard].Store(nil)
		}
	}
	if len(answer.Held) > 0 {
		m.post(Answered{Request: request, Answer: answer})
		m.post(Tick{}) // is taken when the answer has been
	}
}
