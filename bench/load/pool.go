// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// grace is how long past its end a run may wait for what is still under way.
const grace = 10 * time.Second

// Plan says what a run does.
type Plan struct {
	// Duration ends the run: no call is due after it. Required.
	Duration time.Duration
	// Calls, unless 0, ends the run after that many calls if it is sooner.
	Calls int64
	// Rate, unless 0, is the number of calls that start each second whether
	// or not earlier ones have been answered, as long as a connection is
	// free; a call that had to wait for one counts from when it was due.
	Rate float64
	// Next returns the bytes of the n-th call of the run, appended to dst or
	// prebuilt. It is called by many goroutines. Required.
	Next func(n int64, dst []byte) []byte
}

// Result is what a run saw.
type Result struct {
	// Calls is the number of calls answered with status 200.
	Calls int64
	// Errors is the number of other answers and of broken connections.
	Errors int64
	// Err is one of them.
	Err error
	// Elapsed is the time from the first call's start to the last one's end.
	Elapsed time.Duration
	// Latency is of the calls answered with status 200.
	Latency *Histogram
}

// PerSecond is the rate of calls answered with status 200.
func (r *Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Calls) / r.Elapsed.Seconds()
}

// Pool is a fixed number of HTTP/1.1 connections. Only one run at a time.
type Pool struct {
	conns []*Conn
}

// NewPool opens n connections to addr.
func NewPool(addr string, n int) (*Pool, error) {
	p := &Pool{}
	for range n {
		c, err := Dial(addr)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.conns = append(p.conns, c)
	}
	return p, nil
}

// Close closes the connections.
func (p *Pool) Close() error {
	var err error
	for _, c := range p.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

// Run drives all connections until the plan ends.
func (p *Pool) Run(plan Plan) Result {
	workers := make([]worker, len(p.conns))
	start := time.Now()
	var (
		next atomic.Int64
		wait sync.WaitGroup
	)
	for i := range workers {
		w := &workers[i]
		w.conn, w.plan, w.next, w.start = p.conns[i], plan, &next, start
		wait.Go(w.run)
	}
	wait.Wait()
	result := Result{Elapsed: time.Since(start), Latency: &Histogram{}}
	for i := range workers {
		workers[i].addTo(&result)
	}
	return result
}

// worker drives one connection for one run.
type worker struct {
	conn  *Conn
	plan  Plan
	next  *atomic.Int64
	start time.Time

	latency Histogram
	errors  int64
	err     error
}

func (w *worker) addTo(result *Result) {
	result.Calls += int64(w.latency.Count())
	result.Errors += w.errors
	if result.Err == nil {
		result.Err = w.err
	}
	result.Latency.Merge(&w.latency)
}

func (w *worker) run() {
	end := w.start.Add(w.plan.Duration)
	if err := w.conn.SetDeadline(end.Add(grace)); err != nil {
		w.fail(err)
		return
	}
	scratch := make([]byte, 0, 1024)
	for now := time.Now(); w.plan.Rate > 0 || now.Before(end); {
		n := w.next.Add(1) - 1
		if w.plan.Calls > 0 && n >= w.plan.Calls {
			return
		}
		request, began := w.plan.Next(n, scratch), now
		if w.plan.Rate > 0 {
			// What is due within the run is called, however late.
			if began = w.due(n); !began.Before(end) {
				return
			}
			time.Sleep(began.Sub(now))
		}
		status, body, err := w.conn.RoundTrip(request)
		if err != nil {
			w.fail(err)
			return
		}
		now = time.Now()
		if status != 200 {
			w.fail(fmt.Errorf("load: status %d: %.300s", status, body))
			continue
		}
		w.latency.Record(now.Sub(began))
	}
}

// due is when the n-th call of an open loop starts.
func (w *worker) due(n int64) time.Time {
	return w.start.Add(time.Duration(float64(n) / w.plan.Rate * float64(time.Second)))
}

func (w *worker) fail(err error) {
	w.errors++
	if w.err == nil {
		w.err = err
	}
}
