// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placementtest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// Cluster is an authority in memory and the nodes that take part. It runs in real
// time, or in that of a synctest bubble.
type Cluster struct {
	cfg     cluster.Config
	started time.Time

	mu      sync.Mutex // guards the fields below
	table   *Table
	nodes   []*Node
	changed chan struct{} // closed when the table may have changed
}

// NewCluster returns a cluster with that many shards and leases of
// [cluster.DefaultTTL].
func NewCluster(shards uint16) *Cluster {
	return NewClusterWith(cluster.Config{Shards: shards})
}

// NewClusterWith returns a cluster with other leases.
func NewClusterWith(cfg cluster.Config) *Cluster {
	cfg = cfg.WithDefaults()
	return &Cluster{cfg: cfg, started: time.Now(), table: NewTable(cfg), changed: make(chan struct{})}
}

// Node adds a node. It takes part once it is started; Close or Kill ends it.
func (c *Cluster) Node(self placement.Node) *Node {
	n := &Node{cluster: c, resumed: make(chan struct{}), killed: make(chan struct{})}
	close(n.resumed)
	member, err := cluster.NewMember(c.cfg, self, n)
	if err != nil {
		panic(err) //nolint:forbidigo // misuse of a test kit
	}
	n.Member = member
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = append(c.nodes, n)
	return n
}

// Close kills every node.
func (c *Cluster) Close() {
	c.mu.Lock()
	nodes := c.nodes
	c.mu.Unlock()
	for _, n := range nodes {
		n.Kill()
	}
}

// Holder is the stay that holds a shard, as the authority has it; empty if there is
// none that is not dead.
func (c *Cluster) Holder(shard uint16) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, _ := c.table.Holder(shard)
	if n, ok := c.table.nodes[id]; !ok || n.dead {
		return ""
	}
	return id
}

// MayCommit is the fence of a store that belongs to the cluster: false if the stay
// has ended.
func (c *Cluster) MayCommit(stay string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table.MayCommit(stay)
}

// Expire ends the lease of a node as the authority sees it, so that others take its
// shards. The node hears of it with its next beat.
//
// Nodes that hold a shard at the same time are then possible: what cannot happen
// happens here, as if the clock of the authority had jumped.
func (c *Cluster) Expire(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table.Expire(c.now(), n.Self().ID)
	c.changeLocked()
}

// Cordon has a node hold no shards, or lets it again, as whoever runs the cluster does.
func (c *Cluster) Cordon(n *Node, cordoned bool) error {
	_, err := c.Ask(context.Background(), cluster.Request{Op: cluster.Cordon, To: n.Self().ID, Cordoned: cordoned})
	return err
}

// Move has a shard handed over by the node that holds it, and returns when to holds
// it, or with ctx.
func (c *Cluster) Move(ctx context.Context, shard uint16, to *Node) error {
	for {
		c.mu.Lock()
		holder, _ := c.table.Holder(shard)
		changed, nodes := c.changed, c.nodes
		c.mu.Unlock()
		if holder == to.Self().ID {
			if _, _, err := to.Refresh(ctx, shard); err != nil {
				return err
			}
			if to.Holds(shard) {
				return nil
			}
		}
		for _, n := range nodes {
			if n.Self().ID == holder && n.Holds(shard) {
				n.Move([]uint16{shard}, to.Self().ID)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("shard %d is held by %q: %w", shard, holder, ctx.Err())
		}
	}
}

// Changed is closed when the authority has been asked something after the call.
func (c *Cluster) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *Cluster) changeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Cluster) now() time.Duration { return time.Since(c.started) }

// Ask implements [cluster.Authority].
func (c *Cluster) Ask(_ context.Context, q cluster.Request) (cluster.Answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changeLocked()
	return c.table.Ask(c.now(), q)
}
