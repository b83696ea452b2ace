// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placementtest

import (
	"context"
	"errors"
	"sync"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// Node takes part in a [Cluster], and can be made to fail. It runs the code that a
// server's node runs; only what it hears of the authority, and its tenant of it, can
// be held up.
type Node struct {
	*cluster.Member
	cluster *Cluster

	mu      sync.Mutex // guards the fields below
	cut     Cut
	resumed chan struct{} // closed unless paused
	paused  bool
	killed  chan struct{} // closed when killed
	dead    bool
}

var _ placement.Placement = (*Node)(nil)

// Cut says what does not get through between a node and the authority.
type Cut uint8

const (
	// CutNothing is a link that works.
	CutNothing Cut = iota
	// CutRequests is a link on which requests are lost.
	CutRequests
	// CutAnswers is a link on which requests take effect and answers are lost.
	CutAnswers
)

var errKilled = errors.New("placementtest: the node was killed")

// Kill ends the node as kill -9 does: it holds nothing from now on, its tenant hears
// nothing more, and the authority finds out when its lease has ended.
func (n *Node) Kill() {
	n.mu.Lock()
	dead := n.dead
	n.dead = true
	if !dead {
		close(n.killed)
	}
	n.mu.Unlock()
	if !dead {
		_ = n.Member.Close()
	}
}

// Pause has the node hear and say nothing until Resume, as if its process had been
// stopped: answers wait, and so does what its tenant is to be told. Its clocks go on,
// so Holds is false once the lease may have ended. Code of the tenant that runs is not
// stopped.
func (n *Node) Pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.paused {
		n.paused, n.resumed = true, make(chan struct{})
	}
}

// Resume ends Pause.
func (n *Node) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paused {
		n.paused = false
		close(n.resumed)
	}
}

// Cut cuts the node off from the authority, one way or the other; CutNothing heals
// the link. It holds for what is asked from now on.
func (n *Node) Cut(cut Cut) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

// running waits while the node is paused; false if it has been killed.
func (n *Node) running() bool {
	for {
		n.mu.Lock()
		resumed, paused, dead := n.resumed, n.paused, n.dead
		n.mu.Unlock()
		switch {
		case dead:
			return false
		case !paused:
			return true
		}
		select {
		case <-resumed:
		case <-n.killed:
			return false
		}
	}
}

// Holds implements [placement.Placement].
func (n *Node) Holds(shard uint16) bool {
	select {
	case <-n.killed:
		return false
	default:
		return n.Member.Holds(shard)
	}
}

// Start implements [placement.Placement].
func (n *Node) Start(t placement.Tenant) error { return n.Member.Start(&mortal{t, n}) }

// Close implements [placement.Placement].
func (n *Node) Close() error {
	n.Resume()
	return n.Member.Close()
}

// Ask implements [cluster.Authority] for the node's own member.
func (n *Node) Ask(ctx context.Context, q cluster.Request) (cluster.Answer, error) {
	if !n.running() {
		return cluster.Answer{}, errKilled
	}
	n.mu.Lock()
	cut := n.cut
	n.mu.Unlock()
	var answer cluster.Answer
	var err error
	if cut != CutRequests {
		answer, err = n.cluster.Ask(ctx, q)
	}
	if cut != CutNothing {
		select {
		case <-ctx.Done():
		case <-n.killed:
		}
		answer, err = cluster.Answer{}, ctx.Err()
	}
	if !n.running() {
		return cluster.Answer{}, errKilled
	}
	return answer, err
}

// mortal is a tenant that hears only what its node lives to tell.
type mortal struct {
	placement.Tenant
	node *Node
}

func (t *mortal) Gained(shards []uint16) {
	if t.node.running() {
		t.Tenant.Gained(shards)
	}
}

func (t *mortal) Lost(shards []uint16) {
	if t.node.running() {
		t.Tenant.Lost(shards)
	}
}

func (t *mortal) Release(ctx context.Context, shards []uint16) error {
	if !t.node.running() {
		return errKilled
	}
	return t.Tenant.Release(ctx, shards)
}
