// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
	"github.com/troupe-dev/troupe/bench/load"
)

// group is some rows that share servers.
type group struct {
	id, name string
	run      func(b *bed) ([]*row, error)
	cluster  bool // of nodes over PostgreSQL
}

// groups are all of them, in the order of the table.
var groups = []group{
	{id: "a", name: "reads", run: reads},
	{id: "b", name: "durable increments", run: increments},
	{id: "c", name: "fan-out", run: fanOut},
	{id: "d", name: "creation and wake", run: creations},
	{id: "e", name: "memory", run: memories},
	{id: "f", name: "one caller", run: oneCaller},
	{id: "h", name: "h2c", run: multiplexed},
	{id: "g", name: "event log", run: eventLog},
	{id: "i", name: "idempotency", run: idempotency},
	{id: "o", name: "open loop", run: openLoop},
	{id: "p", name: "PostgreSQL", run: overPostgres, cluster: true},
	{id: "r", name: "forwarding", run: forwarding, cluster: true},
	{id: "n", name: "one, two and three nodes", run: severalNodes, cluster: true},
	{id: "t", name: "take-over", run: takeOver, cluster: true},
}

// bed is where one group is measured: its servers and how long to run them.
type bed struct {
	*settings

	group    string
	dir      string
	sides    []*side
	database *pgtest.Server // of the fleets; nil before the first
}

// side is one server, and the connections to it.
type side struct {
	*child

	// pool is what calls go over, of conns connections. It is opened by the
	// first slice: a server cuts a new connection that stays silent.
	pool  *load.Pool
	conns int
	// profile is where the CPU profile goes; empty is nowhere.
	profile string
}

// start starts a server that this bed will close, paused.
func (b *bed) start(args ...string) (*side, error) {
	s, err := b.launch(args...)
	if err == nil {
		s.pause()
	}
	return s, err
}

// launch starts a server that this bed will close.
func (b *bed) launch(args ...string) (*side, error) {
	c, err := start(args...)
	if err != nil {
		return nil, err
	}
	s := &side{child: c}
	b.sides = append(b.sides, s)
	if b.profile != "" {
		s.profile = filepath.Join(b.profile, fmt.Sprintf("%s-%s-%d.pprof", b.group, c.name, len(b.sides)))
		if _, err := s.do(command{Do: "profile", Path: s.profile}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// startTroupe starts a Troupe server on a store of this group.
func (b *bed) startTroupe(args ...string) (*side, error) {
	return b.start(append([]string{"troupe", "-dir", filepath.Join(b.dir, b.group)}, args...)...)
}

// startStore starts the store alone.
func (b *bed) startStore() (*side, error) {
	return b.start("store", "-dir", filepath.Join(b.dir, b.group+"-raw"))
}

// startPair starts the bare server and a Troupe server with the given number of
// connections to each.
func (b *bed) startPair(conns int) (bare, ours *side, err error) {
	if bare, err = b.start("bare"); err != nil {
		return nil, nil, err
	}
	if ours, err = b.startTroupe(); err != nil {
		return nil, nil, err
	}
	bare.conns, ours.conns = conns, conns
	return bare, ours, nil
}

// close ends one server.
func (s *side) close() error {
	if s.child == nil {
		return nil
	}
	var err error
	if s.profile != "" {
		_, err = s.do(command{Do: "profile"})
	}
	if s.pool != nil {
		err = errors.Join(err, s.pool.Close())
	}
	err = errors.Join(err, s.child.close())
	s.child = nil
	return err
}

// close ends every server.
func (b *bed) close() error {
	var err error
	for _, s := range b.sides {
		err = errors.Join(err, s.close())
	}
	if b.database != nil {
		b.database.Close()
	}
	return err
}

// figures are of one slice.
type figures struct {
	// rate is in calls a second, cpu and client in µs of CPU time a call, of
	// the server and of this program.
	rate, cpu, client float64
	latency           *load.Histogram
}

// measure runs one slice on a server while the others are stopped: run makes the
// calls and says what came of them.
func (s *side) measure(run func() (load.Result, error)) (figures, error) {
	s.resume()
	defer s.pause()
	before, err := s.cpu()
	if err != nil {
		return figures{}, err
	}
	client := cpuTime()
	result, err := run()
	if err != nil {
		return figures{}, err
	}
	client = cpuTime() - client
	after, err := s.cpu()
	if err != nil {
		return figures{}, err
	}
	if result.Errors > 0 {
		return figures{}, fmt.Errorf("%s server: %d of %d calls failed: %w", s.name, result.Errors, result.Errors+result.Calls, result.Err)
	}
	if result.Calls == 0 {
		return figures{}, fmt.Errorf("%s server: no call was answered", s.name)
	}
	calls := float64(result.Calls)
	return figures{
		rate:    result.PerSecond(),
		cpu:     micros(after-before) / calls,
		client:  micros(client) / calls,
		latency: result.Latency,
	}, nil
}

// call runs one slice of calls over the pool.
func (s *side) call(plan load.Plan) (figures, error) {
	return s.measure(func() (load.Result, error) {
		if s.pool == nil {
			var err error
			if s.pool, err = load.NewPool(s.addr, s.conns); err != nil {
				return load.Result{}, err
			}
		}
		return s.pool.Run(plan), nil
	})
}

// perform runs one slice of a command.
func (s *side) perform(c command) (report, error) {
	defer s.pause()
	return s.do(c)
}

// interleave runs the slices of each round in turn, every other round backwards,
// after one round to warm up whose figures keep forgets.
func (b *bed) interleave(keep func(round int), slices ...func() error) error {
	for round := -1; round < b.rounds; round++ {
		for i := range slices {
			if round%2 != 0 {
				i = len(slices) - 1 - i
			}
			if err := slices[i](); err != nil {
				return err
			}
		}
		if round >= 0 {
			keep(round)
		}
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
