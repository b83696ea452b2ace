// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/troupe-dev/troupe/bench/load"
)

// memoryRounds bounds the rounds of rows that hardly vary.
const memoryRounds = 3

// numbered makes reads of the actors with the numbers from first on, which have
// nine digits.
func numbered(first int64) func(int64, []byte) []byte {
	mark := strings.Repeat("9", 9)
	r := getRequest(mark)
	wire := r.Append(nil)
	at := bytes.Index(wire, []byte(mark))
	return func(n int64, dst []byte) []byte {
		dst = append(dst, wire...)
		for i, rest := at+len(mark)-1, first+n; i >= at; i-- {
			dst[i] = byte('0' + rest%10)
			rest /= 10
		}
		return dst
	}
}

// creations makes actors by their first call and, after the server has started
// again, wakes them by their next one.
func creations(b *bed) ([]*row, error) {
	bare, err := b.start("bare")
	if err != nil {
		return nil, err
	}
	bare.conns = b.callers
	raw, err := b.startStore()
	if err != nil {
		return nil, err
	}
	created := &row{
		Name: "create an actor by a read", Limit: "bare", Unit: "/s", Score: ratio,
		Goals: []goal{atLeast(ofOurs, 15_000)},
	}
	woken := &row{Name: "wake an actor by a read", Limit: "bare", Unit: "/s", Score: ratio}
	var (
		next                       int64 // the number of the next round's first actor
		creates, loads             report
		limit, creation, awakening figures
	)
	err = b.interleave(
		func(int) {
			created.add(limit.rate, creation.rate)
			created.compare(limit, creation)
			created.note("store creations/s", perSecond(creates))
			woken.add(limit.rate, awakening.rate)
			woken.compare(limit, awakening)
			woken.note("store loads/s", perSecond(loads))
		},
		func() (err error) {
			limit, err = bare.call(load.Plan{Duration: b.duration, Next: numbered(next)})
			return err
		},
		func() (err error) {
			if creates, err = raw.perform(command{Do: "create", N: b.callers, For: b.duration}); err == nil {
				loads, err = raw.perform(command{Do: "load", N: b.callers, For: b.duration})
			}
			return err
		},
		func() (err error) {
			creation, awakening, next, err = b.createAndWake(next)
			return err
		},
	)
	return []*row{created, woken}, err
}

func perSecond(r report) float64 { return float64(r.Ops) / r.Elapsed.Seconds() }

// createAndWake creates the actors from number first on, as many as the time
// allows, and wakes them in another server process. It returns the number after
// the last one.
func (b *bed) createAndWake(first int64) (creation, awakening figures, next int64, err error) {
	ours, err := b.startWarm(first)
	if err != nil {
		return creation, awakening, first, err
	}
	start := first + b.warmUp()
	if creation, err = ours.call(load.Plan{Duration: b.duration, Next: numbered(start)}); err != nil {
		return creation, awakening, first, err
	}
	count := int64(creation.latency.Count())
	if err := ours.close(); err != nil {
		return creation, awakening, first, err
	}
	if ours, err = b.startWarm(first); err != nil {
		return creation, awakening, first, err
	}
	awakening, err = ours.call(load.Plan{Duration: b.duration, Calls: count, Next: numbered(start)})
	if err == nil {
		err = ours.close()
	}
	return creation, awakening, start + count, err
}

// warmUp is how many actors warm a fresh server up.
func (b *bed) warmUp() int64 { return int64(min(b.actors, 2_000)) }

// startWarm starts a server on the group's store and calls some actors.
func (b *bed) startWarm(first int64) (*side, error) {
	ours, err := b.startTroupe()
	if err != nil {
		return nil, err
	}
	ours.conns = b.callers
	_, err = ours.call(load.Plan{Duration: b.duration + time.Second, Calls: b.warmUp(), Next: numbered(first)})
	return ours, err
}

// memories weighs what an idle actor and an open subscription keep.
func memories(b *bed) ([]*row, error) {
	actor := &row{
		Name: "heap of an idle actor, of " + quantity(float64(b.actors), ""), Unit: "B",
		Goals: []goal{atMost(ofOurs, 1536)},
	}
	if err := checkFiles(b.streams); err != nil {
		return nil, err
	}
	rows := []*row{actor}
	for range min(b.rounds, memoryRounds) {
		if err := b.weighActors(actor); err != nil {
			return nil, err
		}
	}
	for _, how := range []struct {
		name string
		open func(addr string, n int) (closer func(), err error)
	}{{"HTTP/1.1", openStreams}, {"h2c", holdStreams}} {
		r := &row{
			Name:  "heap and stack of a subscription, of " + quantity(float64(b.streams), "") + " over " + how.name,
			Limit: "bare", Unit: "B", Score: inverse,
			Goals: []goal{atMost(ofOurs, 24<<10)},
		}
		for range min(b.rounds, memoryRounds) {
			if err := b.weighPair(r, how.open); err != nil {
				return nil, err
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// openStreams opens streams with a connection each.
func openStreams(addr string, n int) (func(), error) {
	swarm, err := load.Subscribe(addr, subscribeRequest("weigh").Append(nil), n)
	if err != nil {
		return nil, err
	}
	return swarm.Close, nil
}

// holdStreams opens streams that share connections.
func holdStreams(addr string, n int) (func(), error) {
	held, err := load.Hold(addr, subscribeRequest("weigh"), n)
	if err != nil {
		return nil, err
	}
	return held.Close, nil
}

// weighPair adds the weight of one stream, bare and ours, to r.
func (b *bed) weighPair(r *row, open func(string, int) (func(), error)) error {
	bare, err := b.start("bare")
	if err != nil {
		return err
	}
	limit, err := b.weighStreams(bare, open)
	if err != nil {
		return err
	}
	ours, err := b.startTroupe()
	if err != nil {
		return err
	}
	own, err := b.weighStreams(ours, open)
	if err != nil {
		return err
	}
	n := float64(b.streams)
	r.add((limit.Heap+limit.Stack)/n, (own.Heap+own.Stack)/n)
	r.note("bare RSS B", limit.RSS/n)
	r.note("bare heap B", limit.Heap/n)
	r.note("bare stack B", limit.Stack/n)
	r.note("ours RSS B", own.RSS/n)
	r.note("ours heap B", own.Heap/n)
	r.note("ours stack B", own.Stack/n)
	r.note("ours goroutines", own.Goroutines/n)
	return nil
}

// weighActors adds the weight of one awake, idle actor to r.
func (b *bed) weighActors(r *row) error {
	ours, err := b.startTroupe("-sleep-after", "1h", "-weigh")
	if err != nil {
		return err
	}
	ours.conns = b.callers
	// What the server keeps whoever is awake is there before the first weighing.
	warm := load.Plan{Duration: 10 * time.Second, Calls: b.warmUp(), Next: numbered(900_000_000)}
	const patient = 10 * time.Minute
	all := load.Plan{Duration: patient, Calls: int64(b.actors), Next: numbered(100_000_000)}
	var w weight
	for i, plan := range []load.Plan{warm, all} {
		if _, err := ours.call(plan); err != nil {
			return err
		}
		if err := ours.pool.Close(); err != nil {
			return err
		}
		ours.pool = nil
		m, err := ours.settle()
		if err != nil {
			return err
		}
		if i == 0 {
			w = m
		} else {
			w = m.minus(w)
		}
	}
	n := float64(b.actors)
	r.add(0, (w.Heap-w.Engine)/n)
	r.note("storage engine's heap B", w.Engine/n)
	r.note("stack B", w.Stack/n)
	r.note("RSS B", w.RSS/n)
	r.note("goroutines", w.Goroutines/n)
	return errors.Join(ours.heapProfile(), ours.close())
}

// heapProfile writes what a server has in memory beside its CPU profile.
func (s *side) heapProfile() error {
	if s.profile == "" {
		return nil
	}
	_, err := s.do(command{Do: "heap", Path: strings.TrimSuffix(s.profile, ".pprof") + "-heap.pprof"})
	return err
}

// weighStreams returns what a server keeps for the streams, which are idle.
func (b *bed) weighStreams(s *side, open func(string, int) (func(), error)) (weight, error) {
	one, err := openFan(s, "weigh", 1) // the actor is awake before the first weighing
	if err != nil {
		return weight{}, err
	}
	defer one.close()
	before, err := s.settle()
	if err != nil {
		return weight{}, err
	}
	closeAll, err := open(s.addr, b.streams)
	if err != nil {
		return weight{}, err
	}
	defer closeAll()
	after, err := s.settle()
	if err != nil {
		return weight{}, err
	}
	return after.minus(before), errors.Join(s.heapProfile(), s.close())
}

// weight is what a server has in memory.
type weight struct{ Heap, Stack, Engine, RSS, Goroutines float64 }

func (w weight) minus(o weight) weight {
	return weight{w.Heap - o.Heap, w.Stack - o.Stack, w.Engine - o.Engine, w.RSS - o.RSS, w.Goroutines - o.Goroutines}
}

// settle weighs a server until it no longer gets lighter.
func (s *side) settle() (weight, error) {
	var last weight
	for i := range 20 {
		m, err := s.do(command{Do: "memory"})
		if err != nil {
			return weight{}, err
		}
		w := weight{float64(m.Heap), float64(m.Stack), float64(m.Engine), float64(m.RSS), float64(m.Goroutines)}
		if i > 0 && w.Goroutines >= last.Goroutines && w.Heap > last.Heap*0.995 {
			return w, nil
		}
		last = w
		time.Sleep(100 * time.Millisecond)
	}
	return last, nil
}
