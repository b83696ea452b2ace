// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"github.com/troupe-dev/troupe/bench/load"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/proto"
)

// manyActors is how many actors "many" are.
const manyActors = 1_000

// fsyncBytes is about what one small commit writes.
const fsyncBytes = 200

func getRequest(key string) load.Request {
	return load.Request{Procedure: counterv1connect.CounterGetProcedure, Key: []string{"bench", key}}
}

func incrementRequest(key string, amount int64) load.Request {
	body, _ := proto.Marshal(&counterv1.IncrementRequest{Amount: amount})
	return load.Request{Procedure: counterv1connect.CounterIncrementProcedure, Key: []string{"bench", key}, Body: body}
}

// keys names n actors, all with names of one length.
func keys(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%07d", i)
	}
	return all
}

// prebuilt cycles through requests that are built beforehand, one for each actor.
func prebuilt(n int, request func(key string) load.Request) func(int64, []byte) []byte {
	return cycle(keys(n), request)
}

// cycle is prebuilt for actors of some names.
func cycle(keys []string, request func(key string) load.Request) func(int64, []byte) []byte {
	wire := make([][]byte, 0, len(keys))
	for _, key := range keys {
		r := request(key)
		wire = append(wire, r.Append(nil))
	}
	return func(call int64, _ []byte) []byte { return wire[call%int64(len(wire))] }
}

func increment(key string) load.Request { return incrementRequest(key, 1) }

// compare notes what both sides did beside the row's own figure.
func (r *row) compare(bare, ours figures) {
	for _, side := range []struct {
		name string
		figures
	}{{"bare", bare}, {"ours", ours}} {
		r.note(side.name+" calls/s", side.rate)
		r.note(side.name+" CPU µs/call", side.cpu)
		r.note(side.name+" client CPU µs/call", side.client)
		r.note(side.name+" p50 µs", micros(side.latency.Quantile(0.5)))
		r.note(side.name+" p99 µs", micros(side.latency.Quantile(0.99)))
	}
}

func amount(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return quantity(float64(n), "") + " " + noun + "s"
}

// reads compares a read-only method with the bare handler.
func reads(b *bed) ([]*row, error) {
	bare, ours, err := b.startPair(b.callers)
	if err != nil {
		return nil, err
	}
	var rows []*row
	for _, n := range []int{1, manyActors} {
		cost := &row{
			Name: "read, " + amount(n, "actor") + ": server CPU", Limit: "bare", Unit: "µs", Score: inverse,
			Goals: []goal{atLeast(ofScore, 0.95)},
		}
		rate := &row{Name: "read, " + amount(n, "actor"), Limit: "bare", Unit: "/s", Score: ratio}
		plan := load.Plan{Duration: b.duration, Next: prebuilt(n, getRequest)}
		var limit, own figures
		err := b.interleave(
			func(int) {
				cost.add(limit.cpu, own.cpu)
				cost.compare(limit, own)
				rate.add(limit.rate, own.rate)
			},
			func() (err error) { limit, err = bare.call(plan); return err },
			func() (err error) { own, err = ours.call(plan); return err },
		)
		if err != nil {
			return nil, err
		}
		rows = append(rows, cost, rate)
	}
	return rows, nil
}

// increments compares durable writes with the bare handler, which stores nothing,
// and with the store's own group commit, which has no network.
func increments(b *bed) ([]*row, error) {
	bare, ours, err := b.startPair(b.callers)
	if err != nil {
		return nil, err
	}
	raw, err := b.startStore()
	if err != nil {
		return nil, err
	}
	var rows []*row
	for _, n := range []int{1, manyActors} {
		name := "durable increment, " + amount(n, "actor")
		toBare := &row{Name: name, Limit: "bare", Unit: "/s", Score: ratio, Goals: []goal{atLeast(ofScore, 0.75)}}
		toStore := &row{Name: name, Limit: "store", Unit: "/s", Score: ratio}
		plan := load.Plan{Duration: b.duration, Next: prebuilt(n, increment)}
		var (
			limit, own figures
			commits    report
		)
		err := b.interleave(
			func(int) {
				toBare.add(limit.rate, own.rate)
				toBare.compare(limit, own)
				toStore.add(float64(commits.Ops)/commits.Elapsed.Seconds(), own.rate)
				toStore.note("store CPU µs/turn", micros(commits.CPU)/float64(commits.Ops))
			},
			func() (err error) { limit, err = bare.call(plan); return err },
			func() (err error) {
				commits, err = raw.perform(command{Do: "commit", Keys: n, N: b.callers, For: b.duration})
				return err
			},
			func() (err error) { own, err = ours.call(plan); return err },
		)
		if err != nil {
			return nil, err
		}
		rows = append(rows, toBare, toStore)
	}
	return rows, nil
}

// eventLog compares durable increments whose events are kept for a replay with those
// of a server that keeps none.
func eventLog(b *bed) ([]*row, error) {
	off, err := b.startTroupe("-no-event-log")
	if err != nil {
		return nil, err
	}
	on, err := b.startTroupe("-dir", filepath.Join(b.dir, b.group+"-log"))
	if err != nil {
		return nil, err
	}
	off.conns, on.conns = b.callers, b.callers
	var rows []*row
	for _, n := range []int{1, manyActors} {
		rate := &row{Name: "durable increment and event, " + amount(n, "actor"), Limit: "no log", Unit: "/s", Score: ratio}
		cost := &row{Name: rate.Name + ": server CPU", Limit: "no log", Unit: "µs", Score: inverse}
		plan := load.Plan{Duration: b.duration, Next: prebuilt(n, increment)}
		var without, with figures
		err := b.interleave(
			func(int) {
				rate.add(without.rate, with.rate)
				cost.add(without.cpu, with.cpu)
			},
			func() (err error) { without, err = off.call(plan); return err },
			func() (err error) { with, err = on.call(plan); return err },
		)
		if err != nil {
			return nil, err
		}
		rows = append(rows, rate, cost)
	}
	return rows, nil
}

// idempotency compares durable increments that carry an idempotency key, each one of
// its own, with those that carry none, on the same server.
func idempotency(b *bed) ([]*row, error) {
	ours, err := b.startTroupe()
	if err != nil {
		return nil, err
	}
	ours.conns = b.callers
	var (
		rows  []*row
		calls atomic.Int64
	)
	for _, n := range []int{1, manyActors} {
		rate := &row{Name: "durable increment with a key, " + amount(n, "actor"), Limit: "no key", Unit: "/s", Score: ratio}
		cost := &row{Name: rate.Name + ": server CPU", Limit: "no key", Unit: "µs", Score: inverse}
		names := keys(n)
		plain := load.Plan{Duration: b.duration, Next: prebuilt(n, increment)}
		keyed := load.Plan{Duration: b.duration, Next: func(call int64, buffer []byte) []byte {
			r := increment(names[call%int64(n)])
			r.IdempotencyKey = "auto-" + strconv.FormatInt(1e15+calls.Add(1), 36)
			return r.Append(buffer[:0])
		}}
		var without, with figures
		err := b.interleave(
			func(int) {
				rate.add(without.rate, with.rate)
				cost.add(without.cpu, with.cpu)
			},
			func() (err error) { without, err = ours.call(plain); return err },
			func() (err error) { with, err = ours.call(keyed); return err },
		)
		if err != nil {
			return nil, err
		}
		rows = append(rows, rate, cost)
	}
	return rows, nil
}

// oneCaller compares the latency of one caller, alone, with one sync of the disk.
func oneCaller(b *bed) ([]*row, error) {
	bare, ours, err := b.startPair(1)
	if err != nil {
		return nil, err
	}
	raw, err := b.startStore()
	if err != nil {
		return nil, err
	}
	r := &row{
		Name: "durable increment, 1 caller: p50", Limit: "fsync", Unit: "µs", Score: difference,
		Goals: []goal{atMost(ofScore, 150)},
	}
	plan := load.Plan{Duration: b.duration, Next: prebuilt(1, increment)}
	var (
		limit, own    figures
		disk, commits report
	)
	err = b.interleave(
		func(int) {
			r.add(micros(disk.P50), micros(own.latency.Quantile(0.5)))
			r.compare(limit, own)
			r.note("fsync p99 µs", micros(disk.P99))
			r.note("store commit p50 µs", micros(commits.P50))
		},
		func() (err error) {
			disk, err = raw.perform(command{Do: "fsync", N: fsyncBytes, For: b.duration})
			return err
		},
		func() (err error) { own, err = ours.call(plan); return err },
		func() (err error) {
			commits, err = raw.perform(command{Do: "commit", Keys: 1, N: 1, For: b.duration})
			return err
		},
		func() (err error) { limit, err = bare.call(plan); return err },
	)
	return []*row{r}, err
}

// openLoop offers calls at half of the rate that a closed loop reached, on a
// timetable.
func openLoop(b *bed) ([]*row, error) {
	bare, ours, err := b.startPair(b.callers)
	if err != nil {
		return nil, err
	}
	plan := load.Plan{Duration: b.duration, Next: prebuilt(manyActors, increment)}
	closed, err := ours.call(plan)
	if err != nil {
		return nil, err
	}
	plan.Rate = closed.rate / 2
	rows := make([]*row, 0, 3)
	for _, q := range []float64{0.5, 0.99, 0.999} {
		rows = append(rows, &row{
			Name:  fmt.Sprintf("durable increment, open loop at %s: p%s", quantity(plan.Rate, "")+"/s", strconv.FormatFloat(q*100, 'g', 4, 64)),
			Limit: "bare", Unit: "µs", Score: difference,
		})
	}
	var limit, own figures
	err = b.interleave(
		func(int) {
			for i, q := range []float64{0.5, 0.99, 0.999} {
				rows[i].add(micros(limit.latency.Quantile(q)), micros(own.latency.Quantile(q)))
			}
		},
		func() (err error) { limit, err = bare.call(plan); return err },
		func() (err error) { own, err = ours.call(plan); return err },
	)
	return rows, err
}

// multiplexed is reads over few h2c connections with many calls in flight.
func multiplexed(b *bed) ([]*row, error) {
	bare, ours, err := b.startPair(0)
	if err != nil {
		return nil, err
	}
	const conns = 4
	requests := make([]load.Request, 0, manyActors)
	for _, key := range keys(manyActors) {
		requests = append(requests, getRequest(key))
	}
	runs := make([]func() (load.Result, error), 2)
	for i, s := range []*side{bare, ours} {
		var m *load.Multiplex
		defer func() {
			if m != nil {
				_ = m.Close()
			}
		}()
		runs[i] = func() (load.Result, error) {
			if m == nil {
				var err error
				if m, err = load.NewMultiplex(s.addr, conns, max(b.callers/conns, 1)); err != nil {
					return load.Result{}, err
				}
			}
			return m.Run(b.duration, func(n int64) *load.Request { return &requests[n%manyActors] }), nil
		}
	}
	cost := &row{Name: "read over h2c, 1,000 actors: server CPU", Limit: "bare", Unit: "µs", Score: inverse}
	rate := &row{Name: "read over h2c, 1,000 actors", Limit: "bare", Unit: "/s", Score: ratio}
	var limit, own figures
	err = b.interleave(
		func(int) {
			cost.add(limit.cpu, own.cpu)
			cost.compare(limit, own)
			rate.add(limit.rate, own.rate)
		},
		func() (err error) { limit, err = bare.measure(runs[0]); return err },
		func() (err error) { own, err = ours.measure(runs[1]); return err },
	)
	return []*row{cost, rate}, err
}
