// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
	shards "github.com/troupe-dev/troupe/actors/placement/postgres"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
	"github.com/troupe-dev/troupe/bench/load"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// fleet is some nodes over one database. Unlike other servers they are never stopped:
// their leases would end.
type fleet struct {
	bed   *bed
	url   string
	flags []string
	nodes []*fleetNode

	authority cluster.Authority
	hangUp    func() // ends the connection to the database
}

// fleetNode is a node and its id.
type fleetNode struct {
	*side
	id string
}

// newFleet starts a PostgreSQL, unless the bed has one, and n nodes over a new database
// of it.
func (b *bed) newFleet(n int, flags ...string) (*fleet, error) {
	ctx := context.Background()
	if b.database == nil {
		server, err := pgtest.New(b.settings.dir)
		if err != nil {
			return nil, err
		}
		b.database = server
	}
	url, err := b.database.Create(ctx)
	if err != nil {
		return nil, err
	}
	if err := postgres.Migrate(ctx, postgres.Options{URL: url}); err != nil {
		return nil, err
	}
	pool, info, err := postgres.Visit(ctx, postgres.Options{URL: url})
	if err != nil {
		return nil, err
	}
	f := &fleet{bed: b, url: url, flags: flags, hangUp: pool.Close}
	if f.authority, err = shards.Visit(cluster.Config{Shards: info.Shards}, pool); err != nil {
		f.hangUp()
		return nil, err
	}
	for range n {
		if err := f.add(); err != nil {
			return nil, errors.Join(err, f.close())
		}
	}
	if err := f.until("the shards are even", func(view cluster.Answer) bool {
		return cluster.Surplus(view.Nodes, view.Orphans) == 0
	}); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// add starts a further node and waits until the others know of it.
func (f *fleet) add() error {
	s, err := f.bed.launch(append([]string{"node", "-url", f.url}, f.flags...)...)
	if err != nil {
		return err
	}
	n := &fleetNode{side: s}
	f.nodes = append(f.nodes, n)
	return f.until("a node joins", func(view cluster.Answer) bool {
		at := slices.IndexFunc(view.Nodes, func(one placement.NodeStatus) bool {
			return !one.Draining && one.LeaseMillis >= 0 && !slices.ContainsFunc(f.nodes, func(known *fleetNode) bool { return known.id == one.ID })
		})
		if at >= 0 {
			n.id = view.Nodes[at].ID
		}
		return at >= 0
	})
}

// close ends the nodes, all at once: each would else wait for the others to take its
// shards.
func (f *fleet) close() error {
	f.hangUp()
	errs := make([]error, len(f.nodes))
	var ending sync.WaitGroup
	for i, n := range f.nodes {
		ending.Go(func() { errs[i] = n.close() })
	}
	ending.Wait()
	return errors.Join(errs...)
}

// ask asks the authority of the nodes.
func (f *fleet) ask(q cluster.Request) (cluster.Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return f.authority.Ask(ctx, q)
}

// until waits until the cluster is as it should be.
func (f *fleet) until(what string, is func(cluster.Answer) bool) error {
	for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
		view, err := f.ask(cluster.Request{Op: cluster.View})
		if err != nil {
			return err
		}
		if is(view) {
			return nil
		}
	}
	return fmt.Errorf("the cluster is too slow: %s", what)
}

// keysOf returns n names of actors that a node runs.
func (f *fleet) keysOf(n int, node *fleetNode) ([]string, error) {
	found, err := f.ask(cluster.Request{Op: cluster.List, Node: placement.Node{ID: node.id}})
	if err != nil {
		return nil, err
	}
	held := make(map[uint16]bool)
	for _, g := range found.Held {
		held[g.Shard] = true
	}
	var names []string
	for _, key := range keys(20 * n) {
		addr := store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: load.EncodeKey([]string{"bench", key})}
		if held[store.ShardOf(addr, store.DefaultShards)] && len(names) < n {
			names = append(names, key)
		}
	}
	if len(names) < n {
		return nil, fmt.Errorf("node %s runs %d of %d actors that were looked for", node.id, len(names), n)
	}
	return names, nil
}

// clusterFigures are of one slice of a fleet: cpu is that of all nodes.
type clusterFigures struct {
	figures

	database float64 // µs of CPU time a call of PostgreSQL
	batch    float64 // turns in one commit; 0 without any
}

// call has callers call the first nodes of the fleet, conns of them each, for one slice.
func (f *fleet) call(first, conns int, plan load.Plan) (clusterFigures, error) {
	called := f.nodes[:first]
	for _, n := range called {
		if n.pool == nil {
			var err error
			if n.pool, err = load.NewPool(n.addr, conns); err != nil {
				return clusterFigures{}, err
			}
		}
	}
	before, err := f.used()
	if err != nil {
		return clusterFigures{}, err
	}
	client := cpuTime()
	results := make([]load.Result, len(called))
	var calling sync.WaitGroup
	for i, n := range called {
		calling.Go(func() { results[i] = n.pool.Run(plan) })
	}
	calling.Wait()
	client = cpuTime() - client
	after, err := f.used()
	if err != nil {
		return clusterFigures{}, err
	}
	total := clusterFigures{figures: figures{latency: new(load.Histogram)}}
	var calls int64
	for _, r := range results {
		if r.Errors > 0 {
			return total, fmt.Errorf("%d of %d calls failed: %w", r.Errors, r.Errors+r.Calls, r.Err)
		}
		calls += r.Calls
		total.rate += r.PerSecond()
		total.latency.Merge(r.Latency)
	}
	if calls == 0 {
		return total, errors.New("no call was answered")
	}
	total.cpu = micros(after.nodes-before.nodes) / float64(calls)
	total.client = micros(client) / float64(calls)
	total.database = micros(after.database-before.database) / float64(calls)
	if batches := after.batches - before.batches; batches > 0 {
		total.batch = float64(after.turns-before.turns) / float64(batches)
	}
	return total, nil
}

// usage is what a fleet has used so far.
type usage struct {
	nodes, database time.Duration
	turns, batches  int64
}

func (f *fleet) used() (usage, error) {
	u := usage{database: f.bed.database.CPU()}
	for _, n := range f.nodes {
		spent, err := n.cpu()
		if err != nil {
			return u, err
		}
		commits, err := n.do(command{Do: "commits"})
		if err != nil {
			return u, err
		}
		u.nodes += spent
		u.turns, u.batches = u.turns+commits.Ops, u.batches+commits.Batches
	}
	return u, nil
}
