// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"errors"
	"slices"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

// stillHolds reports whether the authority knows of everything that this node holds.
// A shard leaves a live node by the node's own hand alone: if one is missing, the
// authority has forgotten something, or takes the node for dead.
func (m *Machine) stillHolds(in Answered) bool {
	told := make(map[uint16]uint64, len(in.Answer.Held))
	for _, g := range in.Answer.Held {
		told[g.Shard] = g.Epoch
	}
	for i := range m.slots {
		s := &m.slots[i]
		if (s.state == held || s.state == leaving) && s.mark < in.Request.Seq && told[uint16(i)] != s.epoch {
			return false
		}
	}
	return true
}

// gain takes the shards that the authority says are this node's. Whatever has
// happened since it said so, they still are, but for those that this node has handed
// over since.
func (m *Machine) gain(a Answer, out *Effects) {
	if !a.Settled || a.Generation != m.generation {
		return
	}
	for _, g := range a.Held {
		s := &m.slots[g.Shard]
		if s.state == away && g.Epoch > s.epoch {
			*s = slot{state: held, epoch: g.Epoch, mark: m.seq}
			m.held++
			out.Gained = append(out.Gained, g.Shard)
			out.Routes = append(out.Routes, Found{g.Shard, placement.Route{Node: m.node, Epoch: g.Epoch}})
		}
	}
}

// forgetHands has the node take back what it has handed over, should the authority say
// that it is this node's: it has forgotten the handover. Nobody has gained by it once
// the new generation has settled.
func (m *Machine) forgetHands() {
	for i := range m.slots {
		if m.slots[i].state == away {
			m.slots[i].epoch = 0
		}
	}
}

// decide looks at the whole cluster: what this node should take, what it should give.
func (m *Machine) decide(now Instant, a Answer, out *Effects) {
	if !a.Settled || a.Generation != m.generation {
		return
	}
	if n := room(a.Nodes, a.Orphans, m.node.ID); n > 0 && !m.draining && m.asked[Claim] == 0 {
		m.ask(now, out, Request{Op: Claim, Limit: n})
	}
	if a.Orphans > 0 && !m.draining {
		return // those who take them change who has too many
	}
	if m.draining && m.announced == 0 {
		return // somebody might still hand us something
	}
	limit := steadyChunks
	if m.draining || m.cordoned || a.Hurry {
		limit = hurryChunks
	}
	m.give(transfers(a.Nodes, m.node.ID), limit, out)
}

// give begins moves until as many are on their way as may be.
func (m *Machine) give(plan []transfer, limit int, out *Effects) {
	var mine []Grant
	for i := range m.slots {
		if s := m.slots[i]; s.state == held {
			mine = append(mine, Grant{uint16(i), s.epoch})
		}
	}
	// What has moved least moves next, so that no actor moves again and again.
	slices.SortFunc(mine, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Shard, b.Shard))
	})
	for _, t := range plan {
		for _, v := range m.moves {
			if v.to == t.to {
				t.n -= len(v.grants) // the view does not show it yet
			}
		}
		for t.n > 0 && len(mine) > 0 && len(m.moves) < limit {
			n := min(t.n, chunk, len(mine))
			m.begin(mine[:n:n], t.to, out)
			mine, t.n = mine[n:], t.n-n
		}
	}
}

func (m *Machine) move(in Move, out *Effects) {
	var grants []Grant
	for _, s := range in.Shards {
		if int(s) < len(m.slots) && m.slots[s].state == held {
			grants = append(grants, Grant{s, m.slots[s].epoch})
		}
	}
	if len(grants) > 0 && in.To != m.node.ID {
		m.begin(grants, in.To, out)
	}
}

func (m *Machine) begin(grants []Grant, to string, out *Effects) {
	m.seq++
	m.moves = append(m.moves, &move{id: m.seq, grants: grants, to: to})
	for _, g := range grants {
		m.slots[g.Shard].state = leaving
	}
	out.Release = append(out.Release, Release{ID: m.seq, Shards: shardsOf(grants)})
}

// released goes on with a move, or gives it up: a tenant that has not let go keeps
// its shards.
func (m *Machine) released(now Instant, in Released, out *Effects) {
	at := slices.IndexFunc(m.moves, func(v *move) bool { return v.id == in.ID && !v.hand })
	if at < 0 {
		return // of an earlier stay
	}
	v := m.moves[at]
	if in.Err != nil {
		m.moves = slices.Delete(m.moves, at, at+1)
		for _, g := range v.grants {
			m.slots[g.Shard].state = held
		}
		out.Gained = append(out.Gained, shardsOf(v.grants)...)
		return
	}
	for _, g := range v.grants {
		m.slots[g.Shard].state = handing
		m.held--
	}
	v.hand, v.next = true, now.Mono
	out.Dropped = append(out.Dropped, shardsOf(v.grants)...)
}

// handed ends a move, or tries again. The shards are never taken back: a Hand without
// an answer may still be on its way.
func (m *Machine) handed(now Instant, in Answered, out *Effects) {
	at := slices.IndexFunc(m.moves, func(v *move) bool { return v.asked == in.Request.Seq })
	if at < 0 || m.phase != joined {
		return
	}
	v := m.moves[at]
	v.asked, v.next = 0, now.Mono
	switch {
	case errors.Is(in.Err, ErrReceiver):
		v.to = "" // whoever has room will claim them
	case errors.Is(in.Err, ErrDead):
		m.endStay(now, out)
	case in.Err != nil && seedbug.On(32):
		m.moves = slices.Delete(m.moves, at, at+1)
		for _, g := range v.grants {
			m.slots[g.Shard].state = held
			m.held++
		}
		out.Gained = append(out.Gained, shardsOf(v.grants)...)
	case in.Err != nil:
		v.next += m.cfg.retryEvery()
	case v.within != m.generation: // it may be forgotten already: asked again
	default:
		m.moves = slices.Delete(m.moves, at, at+1)
		m.stale = m.seq
		m.next[View] = now.Mono // for the next chunk
		if m.draining {
			m.next[Beat] = now.Mono // to see whether that was the last one
		}
		to := slices.IndexFunc(m.nodes, func(n placement.NodeStatus) bool { return n.ID == v.to })
		for _, g := range v.grants {
			m.slots[g.Shard] = slot{state: away, epoch: g.Epoch}
			if to >= 0 {
				out.Routes = append(out.Routes, Found{g.Shard, placement.Route{Node: m.nodes[to].Node, Epoch: g.Epoch + 1}})
			}
		}
	}
}

func shardsOf(grants []Grant) []uint16 {
	shards := make([]uint16, len(grants))
	for i, g := range grants {
		shards[i] = g.Shard
	}
	return shards
}
