// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
)

// holder is a tenant that lets go of nothing while it is stuck.
type holder struct {
	mu    sync.Mutex
	stuck bool // guarded by mu
}

func (h *holder) Gained([]uint16)      {}
func (h *holder) Lost([]uint16)        {}
func (h *holder) Load() placement.Load { return placement.Load{Actors: 12, Calls: 3} }

func (h *holder) Release(context.Context, []uint16) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stuck {
		return errors.New("an actor does not let go")
	}
	return nil
}

func (h *holder) hold(stuck bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stuck = stuck
}

// desk is where commands are given to a cluster in memory.
type desk struct {
	*placementtest.Cluster
	nodes   []*placementtest.Node
	tenants []*holder
}

func newDesk(t *testing.T, names ...string) *desk {
	t.Helper()
	d := &desk{Cluster: placementtest.NewClusterWith(cluster.Config{Shards: 64, TTL: 4 * time.Second})}
	t.Cleanup(d.Close)
	for _, name := range names {
		n := d.Node(placement.Node{ID: "id-of-" + name, Address: name + ":7400", Version: 7, Labels: map[string]string{"name": name, "zone": "1"}})
		h := new(holder)
		if err := n.Start(h); err != nil {
			t.Fatal(err)
		}
		d.nodes, d.tenants = append(d.nodes, n), append(d.tenants, h)
	}
	eventually(t, "the shards are even", func() bool {
		view, err := d.Ask(t.Context(), cluster.Request{Op: cluster.View})
		return err == nil && len(view.Nodes) == len(names) && cluster.Surplus(view.Nodes, view.Orphans) == 0
	})
	return d
}

// command runs a command and returns what it prints.
func (d *desk) command(ctx context.Context, t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, progress bytes.Buffer
	c := &clusterCommand{stdout: &out, stderr: &progress, authority: d, lease: cluster.Config{Shards: 64, TTL: 4 * time.Second}}
	words, err := c.read(c.flags(), append(args, "-database-url", "none"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.command(words)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err = run(ctx)
	return out.String(), progress.String(), err
}

func TestCommandsSayHowFarTheyAre(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "a", "b", "c")
	eventually(t, "the table shows what nodes run", func() bool {
		stdout, _, err := d.command(t.Context(), t)
		return err == nil && strings.Count(stdout, "12") >= 3 && strings.Contains(stdout, "name=a,zone=1") &&
			strings.Contains(stdout, "64 shards, 0 held by no node, 0 to move; generation 1 of the database\n")
	})
	stdout, _, err := d.command(t.Context(), t, "-shards")
	if err != nil || !strings.Contains(stdout, "\n63 ") || strings.Contains(stdout, "\n64  ") {
		t.Errorf("-shards: %v\n%s", err, stdout)
	}

	d.tenants[0].hold(true)
	_, stderr, err := d.command(t.Context(), t, "drain", "a", "-timeout", "1s")
	if err == nil || !strings.Contains(err.Error(), "shards are still to move after -timeout 1s") || !strings.Contains(stderr, "shards to move") {
		t.Errorf("a drain that takes too long: %v\n%s", err, stderr)
	}
	if stdout, _, err = d.command(t.Context(), t); err != nil || !strings.Contains(stdout, "draining") {
		t.Errorf("the node that drains: %v\n%s", err, stdout)
	}
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	if _, _, err = d.command(interrupted, t, "rebalance"); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("a command that is interrupted: %v", err)
	}
	d.tenants[0].hold(false)
	if stdout, stderr, err = d.command(t.Context(), t, "drain", "a:7400"); err != nil || !strings.Contains(stdout, "drained") || !strings.HasSuffix(stderr, "drain: 0 shards to move\n") {
		t.Errorf("drain: %v\n%s%s", err, stdout, stderr)
	}
	if stdout, _, err = d.command(t.Context(), t, "drain", "b", "-wait=false"); err != nil || !strings.Contains(stdout, "node b hands over its shards") {
		t.Errorf("drain without waiting: %v\n%s", err, stdout)
	}
	if _, _, err = d.command(t.Context(), t, "drain", "id-of-c"); err == nil || !strings.Contains(err.Error(), "node c is the last one that takes shards") {
		t.Errorf("the last node was drained: %v", err)
	}
	if _, _, err = d.command(t.Context(), t, "drain", "id-of"); err == nil || !strings.Contains(err.Error(), "several nodes") {
		t.Errorf("a name of all: %v", err)
	}
	for _, name := range []string{"a", "b"} {
		if _, _, err = d.command(t.Context(), t, "resume", name); err != nil {
			t.Errorf("resume %s: %v", name, err)
		}
	}
}

// TestADrainThatEndsOtherwise holds what a command says that waits for a node which is
// resumed meanwhile, or leaves.
func TestADrainThatEndsOtherwise(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "a", "b", "c")
	for name, c := range map[string]struct {
		node      int
		meanwhile func() error
		want      string
	}{
		"resumed": {0, func() error { return d.Cordon(d.nodes[0], false) }, "somebody has resumed node a"},
		"left":    {1, d.nodes[1].Close, "node b has left the cluster"},
	} {
		d.tenants[c.node].hold(true)
		ended := make(chan error, 1)
		go func() {
			_, _, err := d.command(t.Context(), t, "drain", d.nodes[c.node].Self().Labels["name"])
			ended <- err
		}()
		eventually(t, "the node is cordoned", func() bool {
			nodes, err := d.nodes[2].Nodes(t.Context())
			return err == nil && len(nodes) > c.node && nodes[c.node].Cordoned
		})
		if err := c.meanwhile(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		d.tenants[c.node].hold(false)
	}
}
