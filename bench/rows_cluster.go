// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"time"

	"github.com/troupe-dev/troupe/actors/placement/cluster"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/bench/load"
)

// noteCluster notes what a fleet did beside the row's own figure.
func (r *row) noteCluster(name string, c clusterFigures) {
	r.note(name+" calls/s", c.rate)
	r.note(name+" CPU µs/call, nodes", c.cpu)
	r.note(name+" CPU µs/call, PostgreSQL", c.database)
	r.note(name+" p50 µs", micros(c.latency.Quantile(0.5)))
	r.note(name+" p99 µs", micros(c.latency.Quantile(0.99)))
	if c.batch > 0 {
		r.note(name+" turns a commit", c.batch)
	}
}

// overPostgres compares durable increments of one node with a bare pgx program that
// writes batches of the size that the node's were, over as many connections.
func overPostgres(b *bed) ([]*row, error) {
	var rows []*row
	for _, variant := range []struct {
		name        string
		node, limit []string
	}{
		{"durable increment on PostgreSQL, no event log", []string{"-no-event-log"}, nil},
		{"durable increment on PostgreSQL, with its event", nil, []string{"-events"}},
	} {
		f, err := b.newFleet(1, variant.node...)
		if err != nil {
			return nil, err
		}
		raw, err := b.start(append([]string{"pgx", "-url", f.url}, variant.limit...)...)
		if err != nil {
			return nil, err
		}
		r := &row{Name: variant.name, Limit: "bare pgx", Unit: "/s", Score: ratio}
		cost := &row{Name: variant.name + ": CPU of PostgreSQL", Limit: "bare pgx", Unit: "µs", Score: inverse}
		plan := load.Plan{Duration: b.duration, Next: prebuilt(manyActors, increment)}
		var (
			own   clusterFigures
			batch = float64(b.callers) / 2 // before the first is known
			limit report
			spent time.Duration // of PostgreSQL
		)
		err = b.interleave(
			func(int) {
				r.add(limit.perSecond(), own.rate)
				r.noteCluster("ours", own)
				r.note("bare pgx turns a commit", float64(limit.Ops)/float64(limit.Batches))
				r.note("bare pgx CPU µs/turn", micros(limit.CPU)/float64(limit.Ops))
				cost.add(micros(spent)/float64(limit.Ops), own.database)
			},
			func() (err error) {
				if own, err = f.call(1, b.callers, plan); err == nil {
					batch = own.batch
				}
				return err
			},
			func() (err error) {
				before := b.database.CPU()
				limit, err = raw.perform(command{Do: "commit", N: max(1, int(math.Round(batch))), For: b.duration})
				spent = b.database.CPU() - before
				return err
			},
		)
		if err != nil {
			return nil, err
		}
		if err := f.close(); err != nil {
			return nil, err
		}
		rows = append(rows, r, cost)
	}
	return rows, nil
}

// forwarding compares calls that the node which gets them passes on with those that it
// answers itself.
func forwarding(b *bed) ([]*row, error) {
	f, err := b.newFleet(2)
	if err != nil {
		return nil, err
	}
	here, err := f.keysOf(manyActors/2, f.nodes[0])
	if err != nil {
		return nil, err
	}
	there, err := f.keysOf(manyActors/2, f.nodes[1])
	if err != nil {
		return nil, err
	}
	var rows []*row
	for _, kind := range []struct {
		name    string
		request func(string) load.Request
	}{{"read", getRequest}, {"durable increment", increment}} {
		rate := &row{Name: kind.name + ", forwarded", Limit: "local", Unit: "/s", Score: ratio}
		cost := &row{Name: kind.name + ", forwarded: CPU of both nodes", Limit: "local", Unit: "µs", Score: inverse}
		local := load.Plan{Duration: b.duration, Next: cycle(here, kind.request)}
		remote := load.Plan{Duration: b.duration, Next: cycle(there, kind.request)}
		var limit, own clusterFigures
		err := b.interleave(
			func(int) {
				rate.add(limit.rate, own.rate)
				rate.noteCluster("local "+kind.name, limit)
				rate.noteCluster("forwarded "+kind.name, own)
				cost.add(limit.cpu, own.cpu)
			},
			func() (err error) { limit, err = f.call(1, b.callers, local); return err },
			func() (err error) { own, err = f.call(1, b.callers, remote); return err },
		)
		if err != nil {
			return nil, err
		}
		rows = append(rows, rate, cost)
	}
	return rows, f.close()
}

// severalNodes compares two and three nodes with one, all on this machine: a node gets
// its part of the callers, who call any actor.
func severalNodes(b *bed) ([]*row, error) {
	fleets := make([]*fleet, 3)
	for i := range fleets {
		f, err := b.newFleet(i + 1)
		if err != nil {
			return nil, err
		}
		fleets[i] = f
	}
	var rows []*row
	plan := load.Plan{Duration: b.duration, Next: prebuilt(manyActors, increment)}
	got := make([]clusterFigures, len(fleets))
	var runs []func() error
	for i, f := range fleets {
		rate := &row{Name: "durable increment, " + amount(i+1, "node"), Unit: "/s", Score: ratio}
		cost := &row{Name: "durable increment, " + amount(i+1, "node") + ": CPU of all", Unit: "µs", Score: inverse}
		if i > 0 {
			rate.Limit, cost.Limit = "1 node", "1 node"
		}
		rows = append(rows, rate, cost)
		runs = append(runs, func() (err error) {
			got[i], err = f.call(i+1, max(1, b.callers/(i+1)), plan)
			return err
		})
	}
	err := b.interleave(func(int) {
		for i, own := range got {
			rows[2*i].add(got[0].rate, own.rate)
			rows[2*i].noteCluster(amount(i+1, "node"), own)
			rows[2*i+1].add(got[0].cpu+got[0].database, own.cpu+own.database)
		}
	}, runs...)
	if err != nil {
		return nil, err
	}
	for _, f := range fleets {
		if err := f.close(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// takeOvers is how many take-overs are measured at most: each takes a lease.
const takeOvers = 3

// takeOver kills a node that holds every shard and measures until another one has them,
// and until actors take writes there. What is left of the lease must be waited for.
func takeOver(b *bed) ([]*row, error) {
	f, err := b.newFleet(1)
	if err != nil {
		return nil, err
	}
	if err := f.add(); err != nil {
		return nil, err
	}
	heir := f.nodes[1] // cordoned, it holds nothing until nobody else does
	if _, err := f.ask(cluster.Request{Op: cluster.Cordon, To: heir.id, Cordoned: true}); err != nil {
		return nil, err
	}
	held := &row{Name: "take-over of 4,096 shards after kill -9: all are held", Limit: "rest of the lease", Unit: "ms", Score: difference}
	used := &row{Name: "take-over of 4,096 shards after kill -9: 100 actors take writes", Limit: "rest of the lease", Unit: "ms", Score: difference}
	for round := range min(b.rounds, takeOvers) {
		owner := f.nodes[len(f.nodes)-1]
		if round == 0 {
			owner = f.nodes[0]
		}
		var lease time.Duration
		holds := func(node *fleetNode) func(cluster.Answer) bool {
			return func(view cluster.Answer) bool {
				for _, n := range view.Nodes {
					if n.ID == node.id && n.Shards == int(store.DefaultShards) {
						lease = time.Duration(n.LeaseMillis) * time.Millisecond
						return true
					}
				}
				return false
			}
		}
		if err := f.until("the owner holds everything", holds(owner)); err != nil {
			return nil, err
		}
		if err := writeAll(owner); err != nil { // its actors are awake
			return nil, err
		}
		if err := f.until("the owner holds everything", holds(owner)); err != nil {
			return nil, err
		}
		left := lease
		began := time.Now()
		owner.murder()
		if err := f.until("the other node holds everything", holds(heir)); err != nil {
			return nil, err
		}
		held.add(millis(left), millis(time.Since(began)))
		if err := writeAll(heir); err != nil {
			return nil, err
		}
		used.add(millis(left), millis(time.Since(began)))
		if err := f.add(); err != nil { // to which the heir hands over
			return nil, err
		}
	}
	return []*row{held, used}, f.close()
}

// writeAll writes to 100 actors by way of a node, each as often as it needs.
func writeAll(n *fleetNode) error {
	conn, err := load.Dial(n.addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is under way
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	next := prebuilt(100, increment)
	for at := int64(0); at < 100; {
		status, body, err := conn.RoundTrip(next(at, nil))
		switch {
		case err != nil:
			return err
		case status == 200:
			at++
		case status != 503:
			return fmt.Errorf("status %d: %.300s", status, body)
		}
	}
	return nil
}

// murder ends a node as kill -9 does.
func (n *fleetNode) murder() {
	n.kill()
	for range n.answers { // until its output is closed
	}
	_ = n.cmd.Wait() // it was killed
	if n.pool != nil {
		_ = n.pool.Close() // broken
		n.pool = nil
	}
	n.child = nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
