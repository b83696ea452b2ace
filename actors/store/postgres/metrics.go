// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// latencyBounds are the upper bounds of the buckets of the latency of commits.
var latencyBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 10 * time.Second,
}

// metrics counts. All fields may be changed concurrently.
type metrics struct {
	statements, writes, rows         atomic.Uint64
	refused, failed                  atomic.Uint64
	retried, lost, resolved, unknown atomic.Uint64
	connected                        atomic.Uint64
	nanoseconds                      atomic.Int64
	buckets                          [len(latencyBounds) + 1]atomic.Uint64
}

func (m *metrics) commit(writes, rows int, took time.Duration) {
	m.statements.Add(1)
	m.writes.Add(uint64(writes)) //nolint:gosec // a length
	m.rows.Add(uint64(rows))     //nolint:gosec // a length
	m.nanoseconds.Add(int64(took))
	i := 0
	for i < len(latencyBounds) && took > latencyBounds[i] {
		i++
	}
	m.buckets[i].Add(1)
}

// Metrics is what a store has counted since it was opened, and the state of its pools.
type Metrics struct {
	Commit CommitMetrics
	// Reads is the pool that reads, Control that of [Store.Pool].
	Reads, Control PoolMetrics
}

// CommitMetrics is about the statements that commit.
type CommitMetrics struct {
	// Statements is how many were sent for the first time; Writes and Rows what
	// was in them: actors, and changes of their rows.
	Statements, Writes, Rows uint64
	// Refused is how many writes did not fit what was stored; Failed how many ended
	// with any other error.
	Refused, Failed uint64
	// Retried is how many statements were rolled back and sent again; Lost how many
	// answers were lost; Resolved how often the database was then asked and gave the
	// answer; Unknown how many statements nobody knows the fate of.
	Retried, Lost, Resolved, Unknown uint64
	// Connected is how many connections have been made for commits.
	Connected uint64
	// Seconds is the time that statements took in all, with every retry.
	Seconds float64
	// Latency counts statements by the time they took.
	Latency []LatencyBucket
}

// LatencyBucket counts the statements that took up to Bound and longer than the bound of
// the bucket before. The last one has no bound, which is 0.
type LatencyBucket struct {
	Bound time.Duration
	Count uint64
}

// PoolMetrics is the state of a pool of connections.
type PoolMetrics struct {
	// Open connections are in use or idle; Max bounds them.
	Open, InUse, Max int
	// Waited is how often a caller found none free; WaitSeconds how long callers
	// have waited in all.
	Waited      uint64
	WaitSeconds float64
}

// Metrics returns what the store has counted. It is cheap.
func (s *Store) Metrics() Metrics {
	m := &s.metrics
	c := CommitMetrics{
		Statements: m.statements.Load(), Writes: m.writes.Load(), Rows: m.rows.Load(),
		Refused: m.refused.Load(), Failed: m.failed.Load(),
		Retried: m.retried.Load(), Lost: m.lost.Load(), Resolved: m.resolved.Load(), Unknown: m.unknown.Load(),
		Connected: m.connected.Load(),
		Seconds:   time.Duration(m.nanoseconds.Load()).Seconds(),
	}
	for i := range m.buckets {
		bucket := LatencyBucket{Count: m.buckets[i].Load()}
		if i < len(latencyBounds) {
			bucket.Bound = latencyBounds[i]
		}
		c.Latency = append(c.Latency, bucket)
	}
	return Metrics{Commit: c, Reads: poolMetrics(s.reads), Control: poolMetrics(s.control)}
}

func poolMetrics(p *pgxpool.Pool) PoolMetrics {
	stat := p.Stat()
	return PoolMetrics{
		Open: int(stat.TotalConns()), InUse: int(stat.AcquiredConns()), Max: int(stat.MaxConns()),
		Waited:      uint64(max(stat.EmptyAcquireCount(), 0)), //nolint:gosec // not negative
		WaitSeconds: stat.EmptyAcquireWaitTime().Seconds(),
	}
}
