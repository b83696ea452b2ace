// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
)

// Member takes part in a cluster for one node. Its methods may be called
// concurrently.
type Member struct {
	cfg       Config
	authority Authority
	started   time.Time // where its clocks begin

	rights rights
	routes []atomic.Pointer[known]
	asks   asks
	self   atomic.Pointer[placement.Node]
	tenant *tenant

	inputs  chan Input
	drained chan struct{} // closed when nothing is held any more and nothing will be
	ended   chan struct{} // closed when the last stay has ended
	stop    context.CancelFunc
	work    sync.WaitGroup // every goroutine of it

	mu    sync.Mutex // guards begun
	begun bool
	ctx   context.Context //nolint:containedctx // the life of the member, which its goroutines share
}

var _ placement.Placement = (*Member)(nil)

// NewMember returns a member that does not take part yet. Its first stay has the id
// of self; another, should it lose its lease, has that id and a number.
func NewMember(cfg Config, self placement.Node, authority Authority) (*Member, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Member{
		cfg: cfg, authority: authority, started: time.Now(),
		rights: newRights(cfg), routes: make([]atomic.Pointer[known], cfg.Shards),
		inputs: make(chan Input), drained: make(chan struct{}), ended: make(chan struct{}),
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.self.Store(&self)
	return m, nil
}

// Self implements [placement.Placement]. Its id is that of the present stay, or of the
// last one.
func (m *Member) Self() placement.Node { return *m.self.Load() }

// Holds implements [placement.Placement].
func (m *Member) Holds(shard uint16) bool {
	return m.rights.has(shard) && m.rights.last(m.now())
}

// now is the time by both clocks.
func (m *Member) now() Instant {
	now := time.Now()
	return Instant{Mono: now.Sub(m.started), Wall: time.Duration(now.UnixNano())}
}

// Start implements [placement.Placement]. It does not wait for the authority: the node
// is given shards as soon as it can be.
func (m *Member) Start(t placement.Tenant) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begun || m.ctx.Err() != nil {
		return errors.New("cluster: Start is called once, before Drain and Close")
	}
	m.begun = true
	m.tenant = newTenant(t, m.post)
	m.work.Go(m.tenant.run)
	m.work.Go(m.run)
	return nil
}

// Drain implements [placement.Placement].
func (m *Member) Drain(ctx context.Context) error {
	if !m.post(Drain{}) {
		return nil
	}
	select {
	case <-m.drained:
		return nil
	case <-m.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Move hands shards over to another node, those of them that this node holds. It does
// not wait for that. What is out of balance then is balanced by other shards.
func (m *Member) Move(shards []uint16, to string) {
	m.post(Move{Shards: shards, To: to})
}

// Close implements [placement.Placement]. It tells the authority, so that others can
// take the node's place at once, but waits for it a fifth of TTL at most.
func (m *Member) Close() error {
	if m.post(Close{}) {
		<-m.ended
	}
	m.mu.Lock()
	m.stop() // Start cannot begin any more
	m.mu.Unlock()
	m.work.Wait()
	return nil
}

// post hands the loop an input; false if it has ended or was never begun.
func (m *Member) post(in Input) bool {
	m.mu.Lock()
	begun := m.begun
	m.mu.Unlock()
	if !begun {
		return false
	}
	select {
	case m.inputs <- in:
		return true
	case <-m.ended:
		return false
	}
}

// run is the loop that owns the machine.
func (m *Member) run() {
	defer close(m.ended)
	defer m.tenant.close()
	machine := NewMachine(m.cfg, *m.self.Load())
	ticker := time.NewTicker(m.cfg.tickEvery())
	defer ticker.Stop()
	var in Input = Tick{}
	for {
		out := machine.Step(m.now(), in)
		m.apply(machine, out)
		if out.Closed {
			return
		}
		select {
		case in = <-m.inputs:
		case <-ticker.C:
			in = Tick{}
		}
	}
}

// apply does what a step has decided. It never blocks.
func (m *Member) apply(machine *Machine, out Effects) {
	m.rights.drop(out.Lost)
	m.rights.drop(out.Dropped)
	since, ok := machine.Lease()
	m.rights.lease(since, ok)
	self := machine.Self()
	if self.ID != m.self.Load().ID {
		m.self.Store(&self)
	}
	m.rights.gain(out.Gained)
	for _, f := range out.Routes {
		m.learn(f, machine.generation)
	}
	if out.Ended {
		m.tenant.lost(out.Lost)
	}
	if len(out.Gained) > 0 {
		m.tenant.gained(out.Gained)
	}
	for _, r := range out.Release {
		m.tenant.release(r, m.cfg.releaseWithin())
	}
	for _, q := range out.Requests {
		m.work.Go(func() { m.ask(q) })
	}
	if out.Drained {
		close(m.drained)
	}
}

// ask asks the authority, and hands the loop its answer.
func (m *Member) ask(q Request) {
	ctx := m.ctx
	if q.Op == Leave { // which others wait for, and Close does not cut
		ctx = context.WithoutCancel(ctx)
	}
	if q.Op == Beat {
		q.Load = m.tenant.Load()
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.askWithin())
	defer cancel()
	answer, err := m.authority.Ask(ctx, q)
	m.post(Answered{Request: q, Answer: answer, Err: err})
}

// Nodes implements [placement.Placement].
func (m *Member) Nodes(ctx context.Context) ([]placement.NodeStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.askWithin())
	defer cancel()
	answer, err := m.authority.Ask(ctx, Request{Op: View, Node: m.Self()})
	return answer.Nodes, err
}
