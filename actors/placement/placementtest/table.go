// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placementtest

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

// Table is an authority as a plain value: what a database would keep, and what it
// would answer at a moment of its own clock. It is not safe for concurrent use.
type Table struct {
	ttl        time.Duration
	generation uint64
	since      time.Duration // when this generation began
	hurried    time.Duration // when a Rebalance was asked for last
	nodes      map[string]row
	shards     []cell
}

type row struct {
	placement.Node
	expires  time.Duration
	known    uint64 // the generation in which the node has been heard of last
	draining bool
	cordoned bool
	dead     bool
	load     placement.Load
}

type cell struct {
	owner string
	epoch uint64
}

// NewTable returns an authority over shards that nobody holds.
func NewTable(cfg cluster.Config) *Table {
	cfg = cfg.WithDefaults()
	return &Table{
		ttl: cfg.TTL, generation: 1, since: -cfg.TTL, hurried: -cfg.TTL,
		nodes: make(map[string]row), shards: make([]cell, cfg.Shards),
	}
}

// Clone returns a copy.
func (t *Table) Clone() *Table {
	c := *t
	c.nodes, c.shards = maps.Clone(t.nodes), slices.Clone(t.shards)
	return &c
}

// Fail turns t into what a database is after a failover that may have lost commits:
// it begins a generation.
func (t *Table) Fail(now time.Duration, generation uint64) {
	t.generation, t.since = generation, now
}

// Generation is the present generation.
func (t *Table) Generation() uint64 { return t.generation }

// MayCommit is the fence: whether a commit of a node is taken now.
func (t *Table) MayCommit(node string) bool {
	if seedbug.On(1) {
		return true
	}
	n, ok := t.nodes[node]
	return ok && !n.dead && (n.known == t.generation || seedbug.On(34))
}

// Holder is the node that a shard was given to last, dead or not, and the epoch.
func (t *Table) Holder(shard uint16) (node string, epoch uint64) {
	return t.shards[shard].owner, t.shards[shard].epoch
}

// Expire ends the lease of a node.
func (t *Table) Expire(now time.Duration, node string) {
	if n, ok := t.nodes[node]; ok {
		n.expires = min(n.expires, now)
		t.nodes[node] = n
	}
}

// Ask answers a request at a moment.
func (t *Table) Ask(now time.Duration, q cluster.Request) (cluster.Answer, error) {
	a := cluster.Answer{Generation: t.generation, Settled: now-t.since >= t.ttl || seedbug.On(33)}
	n, ok := t.nodes[q.Node.ID]
	alive := ok && !n.dead
	switch q.Op {
	case cluster.Join:
		if ok {
			return a, cluster.ErrDead
		}
		t.nodes[q.Node.ID] = row{Node: q.Node, expires: now + t.ttl, known: t.generation, draining: true, cordoned: q.Cordoned}
		return a, nil
	case cluster.Beat:
		if !alive || n.expires <= now {
			return a, cluster.ErrDead
		}
		if q.Generation == t.generation {
			n.expires, n.known = now+t.ttl, t.generation
			n.draining, n.load = q.Draining, q.Load
			t.nodes[q.Node.ID] = n
		}
		a.Held = t.held(q.Node.ID)
	case cluster.List:
		if !alive {
			return a, cluster.ErrDead
		}
		a.Held = t.held(q.Node.ID)
	case cluster.View:
		a.Nodes, a.Orphans = t.view(now, a.Settled)
		a.Hurry = now-t.hurried < t.ttl
	case cluster.Claim:
		if !alive {
			return a, cluster.ErrDead
		}
		if a.Settled {
			a.Held = t.claim(now, q)
		}
	case cluster.Hand:
		return a, t.hand(now, q)
	case cluster.Leave:
		if ok {
			n.dead = true
			t.nodes[q.Node.ID] = n
		}
	case cluster.Find:
		for _, s := range q.Shards {
			c := t.shards[s]
			if owner, ok := t.nodes[c.owner]; ok && !owner.dead {
				a.Found = append(a.Found, cluster.Found{Shard: s, Route: placement.Route{Node: owner.Node, Epoch: c.epoch}})
			}
		}
	case cluster.Cordon:
		to, ok := t.nodes[q.To]
		if !ok || to.dead || to.expires <= now {
			return a, cluster.ErrDead
		}
		to.cordoned = q.Cordoned
		t.nodes[q.To] = to
	case cluster.Rebalance:
		t.hurried = now
	}
	return a, nil
}

func (t *Table) held(node string) []cluster.Grant {
	var held []cluster.Grant
	for s, c := range t.shards {
		if c.owner == node {
			held = append(held, cluster.Grant{Shard: uint16(s), Epoch: c.epoch})
		}
	}
	return held
}

func (t *Table) view(now time.Duration, settled bool) ([]placement.NodeStatus, int) {
	counts := make(map[string]int)
	for _, c := range t.shards {
		counts[c.owner]++
	}
	var nodes []placement.NodeStatus
	orphans := len(t.shards)
	for id, n := range t.nodes {
		if n.dead {
			continue
		}
		left := n.expires - now
		if !t.ended(n, now, settled) {
			orphans -= counts[id]
		} else {
			left = min(left, -time.Millisecond) // or it has not been heard of in this generation
		}
		nodes = append(nodes, placement.NodeStatus{
			Node: n.Node, Shards: counts[id], Draining: n.draining, Cordoned: n.cordoned,
			LeaseMillis: left.Milliseconds(), Load: n.load,
		})
	}
	slices.SortFunc(nodes, func(a, b placement.NodeStatus) int { return cmp.Compare(a.ID, b.ID) })
	return nodes, orphans
}

// ended reports whether a lease has ended. The clock of another generation may be far
// behind, so a node that is not heard of in it need not be waited for: a generation
// that is settled is older than any lease.
func (t *Table) ended(n row, now time.Duration, settled bool) bool {
	return n.expires <= now || settled && n.known != t.generation
}

func (t *Table) claim(now time.Duration, q cluster.Request) []cluster.Grant {
	for id, n := range t.nodes {
		if t.ended(n, now, true) || seedbug.On(31) && id != q.Node.ID && n.expires <= now+t.ttl*9/10 {
			n.dead = true
			t.nodes[id] = n
		}
	}
	if t.setAside(q.Node.ID, now) {
		return nil
	}
	var given []cluster.Grant
	for s := range t.shards {
		c := &t.shards[s]
		if owner, ok := t.nodes[c.owner]; len(given) == q.Limit || ok && !owner.dead {
			continue
		}
		*c = cell{owner: q.Node.ID, epoch: c.epoch + 1}
		given = append(given, cluster.Grant{Shard: uint16(s), Epoch: c.epoch})
	}
	return given
}

func (t *Table) hand(now time.Duration, q cluster.Request) error {
	to, ok := t.nodes[q.To]
	if q.To != "" && (!ok || to.dead || to.draining || to.expires <= now || t.setAside(q.To, now)) {
		return cluster.ErrReceiver
	}
	for _, g := range q.Grants {
		if t.shards[g.Shard] == (cell{owner: q.Node.ID, epoch: g.Epoch}) {
			t.shards[g.Shard] = cell{owner: q.To, epoch: g.Epoch + 1}
		}
	}
	return nil
}

// setAside reports whether a node is given no shards because it is cordoned: not while
// there is no other.
func (t *Table) setAside(node string, now time.Duration) bool {
	if !t.nodes[node].cordoned {
		return false
	}
	for _, n := range t.nodes {
		if !n.dead && !n.draining && !n.cordoned && n.expires > now {
			return true
		}
	}
	return false
}
