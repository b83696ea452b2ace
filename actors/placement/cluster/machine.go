// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"strconv"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

// Machine is what one node knows of the cluster, and what it decides. It is not safe
// for concurrent use.
type Machine struct {
	cfg  Config
	base placement.Node // as configured
	node placement.Node // of this stay
	stay int

	phase      phase
	lease      Instant // when the renewal was sent that was answered last
	generation uint64
	slots      []slot
	held       int // slots that are held or leaving
	moves      []*move
	nodes      []placement.NodeStatus // at the last view
	stale      uint64                 // views up to this Seq do not know of a move that has ended

	seq   uint64
	asked [Find]uint64        // by Op: the Seq of the request on its way, 0 if there is none
	next  [Find]time.Duration // by Op: when the next one is due, by the monotonic clock

	ready     bool   // the authority knows that this stay hears its answers
	draining  bool   // takes no more shards
	cordoned  bool   // was, at the last view: it stays so in another stay
	announced uint64 // Seq of the Beat that told so, once it was answered
	drained   bool
	closing   bool
}

type phase uint8

const (
	joining phase = iota // as soon as next[Join] has come
	joined
	ending // the tenant is being told what it has lost
	closed
)

// slot is a shard as this stay knows it.
type slot struct {
	state slotState
	epoch uint64 // of the grant; if away, of the last one that was let go
	mark  uint64 // Machine.seq when it was gained
}

type slotState uint8

const (
	away    slotState = iota
	held              // this node's
	leaving           // still this node's, while the tenant lets go
	handing           // let go for good; the authority is to know
)

// move is a chunk of shards on its way to another node.
type move struct {
	id     uint64
	grants []Grant
	to     string
	asked  uint64 // Seq of the Hand on its way, 0 if there is none
	within uint64 // the generation that it was asked in
	next   time.Duration
	hand   bool // the tenant has let go
}

// NewMachine returns the machine of a node that has not joined yet. cfg is complete
// and valid.
func NewMachine(cfg Config, self placement.Node) *Machine {
	return &Machine{cfg: cfg, base: self, node: self, slots: make([]slot, cfg.Shards)}
}

// Self is the node under the id of its present stay.
func (m *Machine) Self() placement.Node { return m.node }

// Lease is since when the node's lease counts; false if it has none.
func (m *Machine) Lease() (Instant, bool) { return m.lease, m.phase == joined }

// Keep is how long a node trusts a lease.
func (c Config) Keep() time.Duration { return c.keep() }

// Lasts reports whether a lease that counts since a moment lasts at now, by the
// strictest clock.
func (c Config) Lasts(since, now Instant) bool {
	if seedbug.On(10) {
		return now.Mono-since.Mono < c.keep()
	}
	return now.Mono-since.Mono < c.keep() && now.Wall-since.Wall < c.keep()
}

// Step takes an input at a moment and returns what has to be done.
func (m *Machine) Step(now Instant, in Input) Effects {
	var out Effects
	if m.phase == joined && !m.cfg.Lasts(m.lease, now) {
		m.endStay(now, &out)
	}
	switch in := in.(type) {
	case Tick:
	case Answered:
		m.answered(now, in, &out)
	case Released:
		m.released(now, in, &out)
	case Forgotten:
		m.forgotten(now, &out)
	case Drain:
		m.draining, m.next[Beat] = true, now.Mono
	case Move:
		m.move(in, &out)
	case Close:
		m.closing = true
		switch m.phase {
		case joined:
			m.endStay(now, &out)
		case joining:
			m.leave(now, &out)
			m.phase, out.Closed = closed, true
		case ending, closed:
		}
	}
	m.schedule(now, &out)
	return out
}

// endStay gives up everything. In what is on its way at the authority the node dies.
func (m *Machine) endStay(now Instant, out *Effects) {
	for i := range m.slots {
		if s := m.slots[i].state; s == held || s == leaving {
			out.Lost = append(out.Lost, uint16(i))
		}
		m.slots[i] = slot{}
	}
	m.moves = nil
	m.held, m.phase, out.Ended = 0, ending, true
	m.leave(now, out)
	m.asked = [Find]uint64{}
}

// leave tells the authority that a stay, or an attempt at one, is over.
func (m *Machine) leave(now Instant, out *Effects) {
	if m.stay > 0 {
		m.ask(now, out, Request{Op: Leave})
	}
}

func (m *Machine) forgotten(now Instant, out *Effects) {
	if m.phase != ending {
		return
	}
	m.phase, m.next[Join] = joining, now.Mono+m.cfg.retryEvery()
	if m.closing {
		m.phase, out.Closed = closed, true
	}
}

// schedule asks what is due.
func (m *Machine) schedule(now Instant, out *Effects) {
	switch {
	case m.phase == joining && m.draining:
		m.tellDrained(out)
	case m.phase == joining && m.due(Join, now):
		m.stay++
		m.node = m.base
		if m.stay > 1 { // unless the authority knows a better one
			m.node.ID += "." + strconv.Itoa(m.stay)
		}
		m.ask(now, out, Request{Op: Join, Cordoned: m.cordoned})
	case m.phase == joined:
		m.scheduleJoined(now, out)
	}
}

func (m *Machine) scheduleJoined(now Instant, out *Effects) {
	if m.due(Beat, now) {
		m.ask(now, out, Request{Op: Beat, Generation: m.generation, Draining: m.draining})
	}
	if m.due(List, now) {
		m.ask(now, out, Request{Op: List})
	}
	if m.due(View, now) {
		m.ask(now, out, Request{Op: View})
	}
	for _, v := range m.moves {
		if v.hand && v.asked == 0 && v.next <= now.Mono {
			v.asked, v.within = m.ask(now, out, Request{Op: Hand, Grants: v.grants, To: v.to}), m.generation
		}
	}
}

func (m *Machine) due(op Op, now Instant) bool { return m.asked[op] == 0 && m.next[op] <= now.Mono }

// ask adds a request to out and returns its Seq.
func (m *Machine) ask(now Instant, out *Effects, q Request) uint64 {
	m.seq++
	q.Seq, q.Node, q.Sent = m.seq, m.node, now
	if q.Op != Hand && q.Op != Leave { // of these there may be several
		m.asked[q.Op] = m.seq
	}
	out.Requests = append(out.Requests, q)
	return m.seq
}

func (m *Machine) tellDrained(out *Effects) {
	if !m.drained {
		m.drained, out.Drained = true, true
	}
}

// answered takes an answer of the authority. Those to an earlier stay mean nothing.
func (m *Machine) answered(now Instant, in Answered, out *Effects) {
	q := in.Request
	if q.Node.ID != m.node.ID || m.phase == ending || m.phase == closed {
		return
	}
	switch q.Op {
	case Hand:
		m.handed(now, in, out)
		return
	case Leave:
		return
	case Find: // somebody else's question
	default:
		if m.asked[q.Op] != q.Seq {
			return
		}
		m.asked[q.Op] = 0
	}
	if q.Op == Join {
		m.answeredJoin(now, in, out)
		return
	}
	if m.phase != joined {
		return
	}
	if errors.Is(in.Err, ErrDead) {
		m.endStay(now, out)
		return
	}
	if in.Err != nil {
		if q.Op != Find {
			m.next[q.Op] = now.Mono + m.cfg.retryEvery()
		}
		return
	}
	switch q.Op {
	case Beat:
		m.answeredBeat(now, in, out)
	case List:
		m.next[List] = q.Sent.Mono + m.cfg.listEvery(len(m.nodes))
		if m.stillHolds(in) {
			m.gain(in.Answer, out)
		} else {
			m.endStay(now, out)
		}
	case Claim:
		m.gain(in.Answer, out)
		if len(in.Answer.Held) < q.Limit { // others were at it
			m.next[View] = min(m.next[View], now.Mono+m.cfg.retryEvery())
		}
	case Find:
		m.gain(in.Answer, out)
	case View:
		m.nodes = in.Answer.Nodes
		for _, n := range m.nodes {
			if n.ID == m.node.ID {
				m.cordoned = n.Cordoned
			}
		}
		m.next[View] = q.Sent.Mono + m.cfg.viewEvery(len(m.nodes))
		if q.Seq <= m.stale {
			m.next[View] = now.Mono
			return
		}
		m.decide(now, in.Answer, out)
	default:
	}
}

// answeredJoin begins the stay. If it is not certain that the node has joined, the
// attempt is given up: another one takes another id.
func (m *Machine) answeredJoin(now Instant, in Answered, out *Effects) {
	switch {
	case m.phase != joining:
	case in.Err != nil || m.draining || !m.cfg.Lasts(in.Request.Sent, now):
		m.leave(now, out)
		m.next[Join] = now.Mono + m.cfg.retryEvery()
	default:
		m.phase, m.lease, m.generation = joined, in.Request.Sent, in.Answer.Generation
		if in.Answer.ID != "" {
			m.node.ID = in.Answer.ID
		}
		m.next[Beat], m.ready, m.announced = now.Mono, false, 0
		m.next[List] = now.Mono + m.cfg.listEvery(len(m.nodes))
		m.next[View] = now.Mono + m.cfg.viewEvery(len(m.nodes))
	}
}

func (m *Machine) answeredBeat(now Instant, in Answered, out *Effects) {
	q, a := in.Request, in.Answer
	if !m.stillHolds(in) {
		m.endStay(now, out)
		return
	}
	if a.Generation != q.Generation { // not renewed, but nothing was forgotten that is ours
		m.generation, m.next[Beat] = a.Generation, now.Mono
		m.forgetHands()
		return
	}
	if q.Sent.Mono > m.lease.Mono {
		m.lease = q.Sent
		if seedbug.On(35) {
			m.lease = now
		}
	}
	m.next[Beat] = q.Sent.Mono + m.cfg.beatEvery()
	m.next[List] = now.Mono + m.cfg.listEvery(len(m.nodes))
	if !m.ready || q.Draining && m.announced == 0 {
		m.next[View] = now.Mono
	}
	m.ready = true
	if q.Draining && m.announced == 0 {
		m.announced = q.Seq
	}
	if m.draining && !q.Draining {
		m.next[Beat] = now.Mono // it was asked for meanwhile
	}
	m.gain(a, out)
	if m.announced != 0 && q.Seq > m.announced && m.held == 0 && len(m.moves) == 0 && len(a.Held) == 0 {
		m.tellDrained(out)
	}
}
