// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

const (
	// duePage is how many rows are read from the due index at once, and how many
	// of one actor wait in memory.
	duePage = 256
	// dueRetry is how long a row rests that could not be settled, and how long
	// the dispatcher does after the store failed.
	dueRetry = time.Second
	// dueNap bounds the dispatcher's sleep, so that a wall clock that was moved
	// and a machine that was suspended make a row late by no more.
	dueNap = time.Minute
)

// settleDue settles a row that is due and durable, in turns of its actor: in the
// end the row is gone or falls due at a later time. It is called for one row of an
// actor at a time, in the order in which they fall due, from a goroutine that it
// may block. A row that it leaves due it must report: by errDueAgain the row is
// handed out again at once, by another error in a second. One that was in progress
// when the process died is handed out again when the host starts.
type settleDue func(ctx context.Context, addr store.Address, row store.DueRow) error

// errDueAgain says that a row was settled and has come due again.
var errDueAgain = errors.New("actors: due again")

// shelved is when a row is due that waits for no time: it can be found in the due
// index, and is never handed out.
var shelved = time.Date(9999, time.January, 1, 0, 0, 0, 0, time.UTC)

// dispatcher has the rows of one kind settled when they fall due.
//
// It keeps one time for each shard, that of its next row, however many rows there
// are: it learns of all shards once when it starts, reads a shard when that time has
// come, and learns of new rows from the commits that hold them. What is due is read
// a page at a time, and no faster than it is settled: see [lane].
type dispatcher struct {
	host   *Host
	kind   store.Kind
	settle settleDue
	news   chan struct{} // holds a token when a time has come that is before pause

	slots    chan struct{} // holds a token for each lane that is served
	wakes    *bucket
	pace     *pace      // nil if rows are settled at once
	sleepers chan *lane // wait to wake their actors

	mu      sync.Mutex
	next    []int64            // guarded by mu; per shard, in microseconds
	pause   int64              // guarded by mu; until when run sleeps
	lanes   map[store.ID]*lane // guarded by mu; of the actors whose rows are in memory
	backlog []uint16           // guarded by mu; shards with sleepers that did not fit, in order
	behind  map[uint16]bool    // guarded by mu; those in backlog
	busy    map[uint16]int     // guarded by mu; rows that are settled now, by shard
	parked  parking            // guarded by mu

	surveyed bool // guarded by mu; next knows of what was stored before
}

// never is a time at which nothing falls due.
const never = math.MaxInt64

// dispatch starts the host's dispatchers.
func (h *Host) dispatch(cfg Config) {
	h.process, h.startedAt = randomSerial(), time.Now()
	wakes := newBucket(cmp.Or(cfg.WakeRate, 500))
	h.dispatchers = map[store.Kind]*dispatcher{
		store.KindSchedule: newDispatcher(h, store.KindSchedule, cmp.Or(cfg.ScheduledTurns, 64), wakes, h.pace, h.runSchedule),
		store.KindOutbox:   newDispatcher(h, store.KindOutbox, maxCouriers, wakes, nil, newCouriers(h).settle),
	}
	for _, d := range h.dispatchers {
		h.running.Go(func() { d.run(h.quit) })
		h.running.Go(func() { d.wake(h.quit) })
	}
}

func newDispatcher(h *Host, kind store.Kind, concurrent int, wakes *bucket, p *pace, settle settleDue) *dispatcher {
	d := &dispatcher{
		host:     h,
		kind:     kind,
		settle:   settle,
		news:     make(chan struct{}, 1),
		slots:    make(chan struct{}, concurrent),
		wakes:    wakes,
		pace:     p,
		sleepers: make(chan *lane, duePage),
		next:     make([]int64, h.shards),
		lanes:    make(map[store.ID]*lane),
		behind:   make(map[uint16]bool),
		busy:     make(map[uint16]int),
		parked:   make(parking),
	}
	for shard := range d.next {
		d.next[shard] = never
	}
	return d
}

// learn takes note of the rows of a write that fall due.
func (h *Host) learn(w *store.Write) {
	for n := range w.Rows {
		if row := &w.Rows[n]; !row.Due.IsZero() && row.Due.Before(shelved) {
			if d := h.dispatchers[row.Kind]; d != nil {
				d.learn(w.Record.ID, row.Key, row.Due)
			}
		}
	}
}

func (d *dispatcher) learn(id store.ID, key []byte, due time.Time) {
	at := due.UnixMicro()
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lanes[id]; l != nil {
		if known, ok := l.due[string(key)]; ok && known == at {
			return // written by those who settle it
		}
	}
	d.expectLocked(id.Shard(), at)
}

// expect has a shard read at a time, or before.
func (d *dispatcher) expect(shard uint16, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expectLocked(shard, at.UnixMicro())
}

func (d *dispatcher) expectLocked(shard uint16, at int64) {
	if int(shard) >= len(d.next) || at >= d.next[shard] {
		return
	}
	d.next[shard] = at
	if at < d.pause {
		select {
		case d.news <- struct{}{}:
		default:
		}
	}
}

// run hands out rows until quit is closed.
func (d *dispatcher) run(quit <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	timer := time.NewTimer(dueNap)
	defer timer.Stop()
	for {
		surveyed := d.survey(ctx)
		shard, at := d.soonest()
		wait := time.Until(at)
		if surveyed != nil {
			wait = dueRetry
		}
		if wait <= 0 {
			if err := d.read(ctx, shard, quit); err != nil {
				d.postpone(shard, err)
				wait = dueRetry // the store is out of order
			}
		}
		if wait <= 0 {
			select {
			case <-quit:
				return
			default:
				continue
			}
		}
		timer.Reset(min(wait, dueNap))
		select {
		case <-quit:
			return
		case <-timer.C:
		case <-d.news:
		}
	}
}

// survey learns which shards have rows, and from when on to look at them, if that is
// not known: when the host begins, and when its node has gained shards.
func (d *dispatcher) survey(ctx context.Context) error {
	d.mu.Lock()
	known := d.surveyed
	d.surveyed = true
	d.mu.Unlock()
	if known {
		return nil
	}
	shards, err := d.host.store.DueShards(ctx, d.kind)
	if err != nil {
		d.host.log.Error("the rows that will be due cannot be found", slog.Any("error", err))
		d.mu.Lock()
		d.surveyed = false
		d.mu.Unlock()
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range shards {
		if s.From.Before(shelved) && d.host.admits(s.Shard) {
			d.expectLocked(s.Shard, s.From.UnixMicro())
		}
	}
	return nil
}

// resurvey has the shards surveyed again.
func (d *dispatcher) resurvey() {
	d.mu.Lock()
	d.surveyed = false
	d.mu.Unlock()
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// soonest returns the shard that is to be read next, and when. Until it is called
// again, an earlier time wakes the dispatcher.
func (d *dispatcher) soonest() (uint16, time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	soonest, first := uint16(0), int64(never)
	for shard, at := range d.next {
		if at < first {
			soonest, first = uint16(shard), at
		}
	}
	d.pause = first
	return soonest, time.UnixMicro(first)
}

func (d *dispatcher) postpone(shard uint16, err error) {
	if !d.host.admits(shard) {
		return
	}
	d.host.log.Error("rows that are due cannot be read", slog.Int("shard", int(shard)), slog.Any("error", err))
	d.expect(shard, time.Now().Add(dueRetry))
}

// read hands out the rows of a shard that are due.
func (d *dispatcher) read(ctx context.Context, shard uint16, quit <-chan struct{}) error {
	now := time.Now()
	d.mu.Lock()
	d.next[shard] = never // what comes from here on counts
	d.mu.Unlock()
	if !d.host.admits(shard) {
		return nil
	}
	var after *store.DueRow
	for {
		rows, err := d.host.store.Due(ctx, shard, d.kind, now, after, duePage)
		if err != nil {
			return err
		}
		for n := range rows {
			if !d.handOut(&rows[n], quit) {
				return nil
			}
		}
		if len(rows) < duePage {
			return d.foresee(ctx, shard, &store.DueRow{ID: lastID, Row: store.Row{Due: now}})
		}
		after = &store.DueRow{ID: rows[duePage-1].ID, Row: store.Row{Key: rows[duePage-1].Key, Due: rows[duePage-1].Due}}
	}
}

// lastID is after every id.
var lastID = store.ID{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}

// leave forgets the rows of shards that others settle from now on. Those that are
// settled now go on: see [dispatcher.settling].
func (d *dispatcher) leave(shards shardSet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for shard := range shards {
		d.next[shard] = never
	}
	for id, l := range d.lanes {
		if shards.has(id.Shard()) {
			l.waiting, l.more = nil, false
		}
	}
	for id := range d.parked {
		if shards.has(id.Shard()) {
			delete(d.parked, id)
			d.host.parked.Add(-1)
		}
	}
}

// settling returns how many rows of shards are settled now.
func (d *dispatcher) settling(shards shardSet) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for shard, busy := range d.busy {
		if shards.has(shard) {
			n += busy
		}
	}
	return n
}

// foresee finds out when a shard's first row after a place falls due.
func (d *dispatcher) foresee(ctx context.Context, shard uint16, after *store.DueRow) error {
	rows, err := d.host.store.Due(ctx, shard, d.kind, shelved.Add(-time.Microsecond), after, 1)
	if err == nil && len(rows) > 0 {
		d.expect(shard, rows[0].Due)
	}
	return err
}
