// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

func (a *Authority) view(ctx context.Context) (cluster.Answer, error) {
	rows, err := a.pool.Query(ctx, viewSQL, seconds(a.cfg.TTL))
	if err != nil {
		return cluster.Answer{}, err
	}
	var (
		g       generation
		nodes   []placement.NodeStatus
		n       placement.NodeStatus
		version int64
		hurry   bool
		ended   bool
		orphans = int(a.cfg.Shards)
	)
	fields := []any{
		&g.timeline, &g.noticed, &g.settled, &hurry, &n.ID, &n.Address, &version, &n.Labels, &n.Draining, &n.Cordoned,
		&n.Load.Actors, &n.Load.Calls, &n.Shards, &n.LeaseMillis, &ended,
	}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		n.Version = uint64(version)
		if ended {
			n.LeaseMillis = min(n.LeaseMillis, -1)
		} else {
			n.LeaseMillis = max(n.LeaseMillis, 0)
			orphans -= n.Shards
		}
		nodes = append(nodes, n)
		n.Labels = nil // a map of its own for each
		return nil
	})
	if err != nil {
		return cluster.Answer{}, err
	}
	if len(nodes) == 0 { // nor any row that tells of the database
		return cluster.Answer{Orphans: orphans}, nil
	}
	answer, err := a.told(ctx, g)
	answer.Nodes, answer.Orphans, answer.Hurry = nodes, orphans, hurry
	return answer, err
}

func (a *Authority) find(ctx context.Context, q cluster.Request) (cluster.Answer, error) {
	shards := make([]int32, len(q.Shards))
	for i, s := range q.Shards {
		shards[i] = int32(s)
	}
	rows, err := a.pool.Query(ctx, findSQL, shards, seconds(a.cfg.TTL))
	if err != nil {
		return cluster.Answer{}, err
	}
	var (
		answer         cluster.Answer
		g              generation
		shard          int32
		epoch, version int64
		n              placement.Node
	)
	fields := []any{&g.timeline, &g.noticed, &g.settled, &shard, &epoch, &n.ID, &n.Address, &version, &n.Labels}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		n.Version = uint64(version)
		answer.Found = append(answer.Found, cluster.Found{Shard: uint16(shard), Route: placement.Route{Node: n, Epoch: uint64(epoch)}})
		n.Labels = nil
		return nil
	})
	answer.Generation, answer.Settled = uint64(g.timeline), g.settled
	return answer, err
}
