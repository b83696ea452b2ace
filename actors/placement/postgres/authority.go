// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package postgres is the authority of a cluster whose store is PostgreSQL: who is
// alive and who holds which shard are rows of the store's own tables node and shard,
// judged by the clock of the database. The tables are made by package
// actors/store/postgres.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// Store is what the authority needs of the store of its node, which
// [github.com/troupe-dev/troupe/actors/store/postgres.Store] is.
type Store interface {
	// Pool leads to the database and has the store's schema as its search path.
	Pool() *pgxpool.Pool

	// NodeID is the id of this process in the table node.
	NodeID() string

	// Rejoin gives it another one, after the present one has been declared dead.
	Rejoin(ctx context.Context) error
}

// Authority answers the node of one process out of the database.
type Authority struct {
	cfg   cluster.Config
	store Store // nil for one that is no node
	pool  *pgxpool.Pool

	mu   sync.Mutex // guards the fields below
	used string     // the store's NodeID that a Join was made with last
	// asked is the id that this Join was asked for with.
	asked string
}

var _ cluster.Authority = (*Authority)(nil)

// New returns the authority of a node over its store. cfg must be the same in all
// nodes.
func New(cfg cluster.Config, store Store) (*Authority, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Authority{cfg: cfg, store: store, pool: store.Pool()}, nil
}

// Visit returns the authority for one that is no node, over a pool that leads to the
// database and has the store's schema as its search path. It answers View, Find, Cordon
// and Rebalance.
func Visit(cfg cluster.Config, pool *pgxpool.Pool) (*Authority, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Authority{cfg: cfg, pool: pool}, nil
}

// Ask implements [cluster.Authority].
func (a *Authority) Ask(ctx context.Context, q cluster.Request) (cluster.Answer, error) {
	answer, err := a.answer(ctx, q)
	if err != nil && !errors.Is(err, cluster.ErrDead) && !errors.Is(err, cluster.ErrReceiver) {
		err = fmt.Errorf("placement: %w", err)
	}
	return answer, err
}

func (a *Authority) answer(ctx context.Context, q cluster.Request) (cluster.Answer, error) {
	switch q.Op {
	case cluster.Join:
		return a.join(ctx, q)
	case cluster.Beat:
		return a.beat(ctx, q)
	case cluster.List:
		return a.list(ctx, q)
	case cluster.View:
		return a.view(ctx)
	case cluster.Claim:
		return a.claim(ctx, q)
	case cluster.Hand:
		return cluster.Answer{}, a.hand(ctx, q)
	case cluster.Leave:
		return cluster.Answer{}, a.leave(ctx, q)
	case cluster.Find:
		return a.find(ctx, q)
	case cluster.Cordon:
		return cluster.Answer{}, a.cordon(ctx, q)
	case cluster.Rebalance:
		_, err := a.pool.Exec(ctx, rebalanceSQL)
		return cluster.Answer{}, err
	}
	return cluster.Answer{}, fmt.Errorf("no such request: %d", q.Op)
}

// join takes part under the id that the store commits with.
func (a *Authority) join(ctx context.Context, q cluster.Request) (cluster.Answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.store == nil {
		return cluster.Answer{}, errors.New("a visitor joins no cluster")
	}
	if a.used == a.store.NodeID() { // and the stay that it stood for is over
		if err := a.store.Rejoin(ctx); err != nil {
			return cluster.Answer{}, err
		}
	}
	a.used, a.asked = a.store.NodeID(), q.Node.ID
	answer, err := a.one(ctx, joinSQL, a.used, seconds(a.cfg.TTL), q.Node.Address, int64(q.Node.Version), labels(q.Node.Labels), q.Cordoned)
	answer.ID, answer.Held = a.used, nil
	return answer, err
}

func (a *Authority) beat(ctx context.Context, q cluster.Request) (cluster.Answer, error) {
	return a.one(ctx, beatSQL, q.Node.ID, seconds(a.cfg.TTL), q.Draining, int64(q.Generation), q.Load.Actors, q.Load.Calls)
}

func (a *Authority) list(ctx context.Context, q cluster.Request) (cluster.Answer, error) {
	return a.one(ctx, listSQL, q.Node.ID, seconds(a.cfg.TTL))
}

// one reads an answer about the asking node. Its statements give what generation says
// of the database, whether the node is alive, and what it holds.
func (a *Authority) one(ctx context.Context, sql string, params ...any) (cluster.Answer, error) {
	var (
		g      generation
		alive  bool
		shards []int32
		epochs []int64
	)
	if err := a.pool.QueryRow(ctx, sql, params...).Scan(&g.timeline, &g.noticed, &g.settled, &alive, &shards, &epochs); err != nil {
		return cluster.Answer{}, err
	}
	answer, err := a.told(ctx, g)
	if err == nil && !alive {
		err = cluster.ErrDead
	}
	for i := range shards {
		answer.Held = append(answer.Held, cluster.Grant{Shard: uint16(shards[i]), Epoch: uint64(epochs[i])})
	}
	return answer, err
}

// generation is what a statement says about the database that answers.
type generation struct {
	timeline int64
	noticed  bool // the table cluster has it
	settled  bool
}

// told begins an answer. Who finds a timeline that nobody has noticed yet notes it, so
// that it can settle.
func (a *Authority) told(ctx context.Context, g generation) (cluster.Answer, error) {
	if !g.noticed {
		if _, err := a.pool.Exec(ctx, noticeSQL); err != nil {
			return cluster.Answer{}, err
		}
	}
	return cluster.Answer{Generation: uint64(g.timeline), Settled: g.settled}, nil
}

// claim marks dead whose lease has ended, and takes what they held. What the dead have
// left running in the database is ended first: it may hold locks for as long as it
// likes, and whatever it is about would be refused.
func (a *Authority) claim(ctx context.Context, q cluster.Request) (cluster.Answer, error) {
	ttl := seconds(a.cfg.TTL)
	if _, err := a.pool.Exec(ctx, endSessionsSQL, ttl); err != nil {
		return cluster.Answer{}, fmt.Errorf("end the sessions of nodes that are gone: %w", err)
	}
	if _, err := a.pool.Exec(ctx, markDeadSQL, ttl); err != nil {
		return cluster.Answer{}, fmt.Errorf("mark nodes dead: %w", err)
	}
	var dead []string
	if err := a.pool.QueryRow(ctx, deadSQL).Scan(&dead); err != nil {
		return cluster.Answer{}, fmt.Errorf("find the shards of the dead: %w", err)
	}
	rows, err := a.pool.Query(ctx, claimSQL, q.Node.ID, ttl, dead, q.Limit)
	if err != nil {
		return cluster.Answer{}, err
	}
	var answer cluster.Answer
	var timeline, epoch int64
	var shard int32
	_, err = pgx.ForEachRow(rows, []any{&timeline, &shard, &epoch}, func() error {
		answer.Generation, answer.Settled = uint64(timeline), true
		answer.Held = append(answer.Held, cluster.Grant{Shard: uint16(shard), Epoch: uint64(epoch)})
		return nil
	})
	return answer, err
}

func (a *Authority) hand(ctx context.Context, q cluster.Request) error {
	shards, epochs := make([]int32, len(q.Grants)), make([]int64, len(q.Grants))
	for i, g := range q.Grants {
		shards[i], epochs[i] = int32(g.Shard), int64(g.Epoch)
	}
	var takes bool
	if err := a.pool.QueryRow(ctx, handSQL, q.Node.ID, q.To, shards, epochs).Scan(&takes); err != nil {
		return err
	}
	if !takes {
		return cluster.ErrReceiver
	}
	return nil
}

func (a *Authority) leave(ctx context.Context, q cluster.Request) error {
	a.mu.Lock()
	id := q.Node.ID
	if id == a.asked {
		id = a.used
	}
	a.mu.Unlock()
	_, err := a.pool.Exec(ctx, leaveSQL, id)
	return err
}

func (a *Authority) cordon(ctx context.Context, q cluster.Request) error {
	changed, err := a.pool.Exec(ctx, cordonSQL, q.To, q.Cordoned)
	if err == nil && changed.RowsAffected() == 0 {
		err = cluster.ErrDead
	}
	return err
}

func seconds(d time.Duration) float64 { return d.Seconds() }

func labels(l map[string]string) map[string]string {
	if l == nil {
		return map[string]string{}
	}
	return l
}
