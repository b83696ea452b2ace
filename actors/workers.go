// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"sync"
	"sync/atomic"
	"time"
)

// maxIdleWorkers bounds the goroutines kept for the next turns.
const maxIdleWorkers = 64

// expiryInterval is how exactly the time limit of a turn is kept.
const expiryInterval = 50 * time.Millisecond

// workers runs turns on goroutines that their callers can leave. An idle worker
// keeps its stack, grown to what turns need; the newest idle one runs next, while
// its stack is in the cache. The number of busy workers is bounded by the calls
// that the edge admits.
type workers struct {
	committer *committer

	mu   sync.Mutex
	idle []*worker            // guarded by mu
	lent []*worker            // guarded by mu; stand-ins for callers, not in use
	all  map[*worker]struct{} // guarded by mu
	over bool                 // guarded by mu; no worker stays idle any more
	wg   sync.WaitGroup

	busy atomic.Int64
	wake chan struct{} // tells the watchdog that someone is busy
}

type worker struct {
	turns   chan *turn
	current atomic.Pointer[turn]
}

func newWorkers(c *committer) *workers {
	return &workers{committer: c, all: make(map[*worker]struct{}), wake: make(chan struct{}, 1)}
}

// start runs a turn on a worker of its own, and after it the turns that its actor
// gives out.
func (p *workers) start(t *turn) {
	p.wakeWatch()
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		w.turns <- t
		return
	}
	w := &worker{turns: make(chan *turn, 1)}
	p.all[w] = struct{}{}
	p.wg.Add(1)
	p.mu.Unlock()
	w.turns <- t
	go p.work(w)
}

func (p *workers) work(w *worker) {
	defer p.wg.Done()
	exited := true
	defer func() {
		if exited {
			p.lose(w)
		}
	}()
	for t := range w.turns {
		p.run(w, t)
		p.busy.Add(-1)
		p.mu.Lock()
		if len(p.idle) >= maxIdleWorkers || p.over {
			delete(p.all, w)
			p.mu.Unlock()
			break
		}
		p.idle = append(p.idle, w)
		p.mu.Unlock()
	}
	exited = false
}

// lose gives up a worker whose goroutine ends: see [instance.exited].
func (p *workers) lose(w *worker) {
	w.current.Store(nil)
	p.busy.Add(-1)
	p.mu.Lock()
	delete(p.all, w)
	p.mu.Unlock()
	p.committer.flush()
}

// run runs a turn and those of its actor that follow it, and sees to it that what
// they changed is committed.
func (p *workers) run(w *worker, t *turn) {
	changed := false
	for i := t.inst; t != nil; {
		w.current.Store(t)
		t = i.execute(t)
		changed = i.changed.Swap(false) || changed
		if t != nil && changed && p.committer.stale() {
			p.start(t)
			break
		}
	}
	w.current.Store(nil)
	if changed {
		p.committer.flush()
	}
}

// wakeWatch tells the watchdog that one more is busy.
func (p *workers) wakeWatch() {
	if p.busy.Add(1) == 1 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// lend runs a turn on the goroutine of its caller. A worker without a goroutine
// stands in for it, so that the watchdog sees the turn.
func (p *workers) lend(t *turn) {
	p.wakeWatch()
	var w *worker
	p.mu.Lock()
	if n := len(p.lent); n > 0 {
		w, p.lent = p.lent[n-1], p.lent[:n-1]
	} else {
		w = new(worker)
		p.all[w] = struct{}{}
	}
	p.mu.Unlock()
	w.current.Store(t)
	var next *turn
	defer func() { // also when the author's code ends the goroutine
		w.current.Store(nil)
		p.busy.Add(-1)
		p.mu.Lock()
		p.lent = append(p.lent, w)
		p.mu.Unlock()
		if next != nil {
			p.start(next)
		}
		if t.inst.changed.Swap(false) {
			p.committer.flushBeside() // the caller may have to answer before the disk does
		}
	}()
	next = t.inst.execute(t)
}

// watch gives up turns whose time is over, and sees to changes whose worker runs
// another turn, until stop is closed. It sleeps while no worker is busy.
func (p *workers) watch(stop <-chan struct{}) {
	ticker := time.NewTicker(expiryInterval)
	defer ticker.Stop()
	var seen []*worker
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		if p.busy.Load() == 0 {
			ticker.Stop()
			select {
			case <-stop:
				return
			case <-p.wake:
				ticker.Reset(expiryInterval)
			}
			continue
		}
		if p.committer.stale() {
			p.committer.flushBeside() // who would, runs the actor's next turn
		}
		p.mu.Lock()
		seen = seen[:0]
		for w := range p.all {
			seen = append(seen, w)
		}
		p.mu.Unlock()
		now := time.Now()
		for _, w := range seen {
			if t := w.current.Load(); t != nil {
				if late := t.overdue(now); late != nil {
					t.expire(late)
				}
				t.inst.expireQueued()
			}
		}
	}
}

// expireQueued gives up the turns whose time ends while they wait for a turn that
// runs. Those that wait for a commit are given up when it is settled.
func (i *instance) expireQueued() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.expireQueuedLocked()
	i.dispatchLocked() // who waited behind them may run beside the readers that run
}

func (i *instance) expireQueuedLocked() {
	if i.queue.head == nil {
		return
	}
	now := time.Now()
	for t := i.queue.head; t != nil; {
		next := t.next
		if now.After(t.deadline) {
			i.queue.remove(t)
			t.expire(errOutOfTime)
		}
		t = next
	}
}

// close ends the idle workers and waits for the busy ones, and for those that the
// turns behind theirs need.
func (p *workers) close() {
	p.mu.Lock()
	for _, w := range p.idle {
		close(w.turns)
	}
	p.idle, p.over = nil, true
	p.mu.Unlock()
	p.wg.Wait()
}
