// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// clusterView is the cluster as -json prints it.
type clusterView struct {
	// Generation counts the failovers of the database.
	Generation uint64 `json:"generation"`
	// Settled is false for 10 s after one: no shard changes its holder then.
	Settled bool `json:"settled"`
	// Shards is how many the store has, Orphans how many no node holds, Surplus how many
	// are not where they are to be.
	Shards  int `json:"shards"`
	Orphans int `json:"orphans"`
	Surplus int `json:"surplus"`

	Nodes  []nodeView  `json:"nodes"`
	Leases []leaseView `json:"leases,omitempty"` // with -shards
}

// nodeView is a node.
type nodeView struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Address string            `json:"address"`
	Version uint64            `json:"version"`
	Labels  map[string]string `json:"labels"`
	State   string            `json:"state"`
	Shards  int               `json:"shards"`
	// Actors are those in memory, Calls those that ran or waited, at the last heartbeat.
	Actors int64 `json:"actors"`
	Calls  int64 `json:"calls"`
	// LeaseMillis is negative once the lease has ended.
	LeaseMillis     int64 `json:"leaseMillis"`
	HeartbeatMillis int64 `json:"heartbeatAgeMillis"`
}

// leaseView is who holds a shard.
type leaseView struct {
	Shard uint16 `json:"shard"`
	Node  string `json:"node"`
	Epoch uint64 `json:"epoch"`
	// LeaseMillis is that of the node.
	LeaseMillis int64 `json:"leaseMillis"`
}

// stateOf is what a node does, in a word.
func stateOf(n placement.NodeStatus) string {
	switch {
	case n.LeaseMillis < 0:
		return "gone" // nobody has taken its place yet
	case n.Draining:
		return "stopping"
	case n.Cordoned && n.Shards > 0:
		return "draining"
	case n.Cordoned:
		return "drained"
	}
	return "up"
}

// nameOf is what people call a node.
func nameOf(n placement.NodeStatus) string {
	if name := n.Labels["name"]; name != "" {
		return name
	}
	return n.ID[:min(8, len(n.ID))]
}

// find returns the node that somebody has named, and the cluster.
func (c *clusterCommand) find(ctx context.Context, name string) (cluster.Answer, placement.NodeStatus, error) {
	view, err := c.view(ctx)
	if err != nil {
		return view, placement.NodeStatus{}, err
	}
	var names, ids []string
	var found []placement.NodeStatus
	for _, n := range view.Nodes {
		names = append(names, nameOf(n))
		if n.Labels["name"] == name || n.Address == name || name != "" && strings.HasPrefix(n.ID, name) {
			found, ids = append(found, n), append(ids, n.ID)
		}
	}
	if len(found) > 1 { // one that is gone may be called like its successor
		found = slices.DeleteFunc(found, func(n placement.NodeStatus) bool { return n.LeaseMillis < 0 })
	}
	switch {
	case len(view.Nodes) == 0:
		return view, placement.NodeStatus{}, errors.New("the cluster has no nodes")
	case len(ids) == 0:
		return view, placement.NodeStatus{}, fmt.Errorf("there is no node %q among %s", name, strings.Join(names, ", "))
	case len(found) != 1:
		return view, placement.NodeStatus{}, fmt.Errorf("%q is several nodes: say one of %s", name, strings.Join(ids, ", "))
	}
	return view, found[0], nil
}

func (c *clusterCommand) cordon(ctx context.Context, node placement.NodeStatus, cordoned bool) error {
	_, err := c.ask(ctx, cluster.Request{Op: cluster.Cordon, To: node.ID, Cordoned: cordoned})
	if errors.Is(err, cluster.ErrDead) {
		return fmt.Errorf("node %s is gone: its lease has ended", nameOf(node))
	}
	return err
}

// print shows the cluster.
func (c *clusterCommand) print(ctx context.Context, view *cluster.Answer) error {
	v := c.viewOf(view)
	if c.perShard {
		leases, err := c.leases(ctx, v.Nodes)
		if err != nil {
			return err
		}
		v.Leases = leases
	}
	if !c.json {
		return c.table(&v)
	}
	encoded, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return c.say("%s\n", encoded)
}

func (c *clusterCommand) viewOf(view *cluster.Answer) clusterView {
	v := clusterView{
		Generation: view.Generation, Settled: view.Settled, Shards: int(c.lease.Shards), Orphans: view.Orphans,
		Surplus: cluster.Surplus(view.Nodes, view.Orphans), Nodes: []nodeView{},
	}
	for _, n := range view.Nodes {
		v.Nodes = append(v.Nodes, nodeView{
			ID: n.ID, Name: nameOf(n), Address: n.Address, Version: n.Version, Labels: n.Labels, State: stateOf(n),
			Shards: n.Shards, Actors: n.Load.Actors, Calls: n.Load.Calls,
			LeaseMillis: n.LeaseMillis, HeartbeatMillis: c.lease.Heard(n.LeaseMillis).Milliseconds(),
		})
	}
	return v
}

// leases asks who holds each shard.
func (c *clusterCommand) leases(ctx context.Context, nodes []nodeView) ([]leaseView, error) {
	all := make([]uint16, c.lease.Shards)
	for i := range all {
		all[i] = uint16(i)
	}
	answer, err := c.ask(ctx, cluster.Request{Op: cluster.Find, Shards: all})
	if err != nil {
		return nil, err
	}
	left := make(map[string]int64)
	for _, n := range nodes {
		left[n.ID] = n.LeaseMillis
	}
	leases := make([]leaseView, 0, len(answer.Found))
	for _, f := range answer.Found {
		leases = append(leases, leaseView{Shard: f.Shard, Node: f.Node.ID, Epoch: f.Epoch, LeaseMillis: left[f.Node.ID]})
	}
	slices.SortFunc(leases, func(a, b leaseView) int { return int(a.Shard) - int(b.Shard) })
	return leases, nil
}

// table prints the cluster for people.
func (c *clusterCommand) table(v *clusterView) error {
	names := make(map[string]string)
	table := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NODE\tADDRESS\tVERSION\tSTATE\tSHARDS\tACTORS\tCALLS\tLEASE\tHEARD\tLABELS")
	for _, n := range v.Nodes {
		names[n.ID] = n.Name
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%d\t%d\t%d\t%s\t%s ago\t%s\n", n.Name, n.Address, n.Version, n.State,
			n.Shards, n.Actors, n.Calls, leaseText(n.LeaseMillis), tenths(n.HeartbeatMillis), labelText(n.Labels))
	}
	if err := table.Flush(); err != nil { // which the lines above leave their errors to
		return err
	}
	if len(v.Leases) > 0 {
		_, _ = fmt.Fprintln(table, "\nSHARD\tNODE\tEPOCH\tLEASE")
		for _, l := range v.Leases {
			_, _ = fmt.Fprintf(table, "%d\t%s\t%d\t%s\n", l.Shard, names[l.Node], l.Epoch, leaseText(l.LeaseMillis))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	settled := ""
	if !v.Settled {
		settled = ", in which nothing moves yet"
	}
	return c.say("\n%d shards, %d held by no node, %d to move; generation %d of the database%s\n",
		v.Shards, v.Orphans, v.Surplus, v.Generation, settled)
}

func leaseText(millis int64) string {
	if millis < 0 {
		return "ended"
	}
	return tenths(millis)
}

func tenths(millis int64) string {
	return (time.Duration(millis) * time.Millisecond).Round(100 * time.Millisecond).String()
}

func labelText(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, ",")
}
