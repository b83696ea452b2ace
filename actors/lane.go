// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// lane is the rows of one actor that wait to be settled, one after the other.
//
// A lane is served on a goroutine of its own, and as many are at one time as there
// are slots. The actors that are awake come first: a lane of one that sleeps waits
// apart, for a token to wake it. So many of these wait in memory; of the rest it is
// only known which shards they are in.
type lane struct {
	id      store.ID
	waiting [][]byte         // keys, in order
	due     map[string]int64 // of those that wait and of the one that is settled now
	more    bool             // the store has some that did not fit, or came due again
}

// handOut puts a row into its actor's lane. A new lane of an actor that is awake
// needs a slot; if too many of actors that sleep wait, the row stays in the store.
// False means that the host stops.
func (d *dispatcher) handOut(row *store.DueRow, quit <-chan struct{}) bool {
	if !d.host.admits(row.ID.Shard()) {
		return true
	}
	awake := d.host.table.withID(row.ID) != nil
	d.mu.Lock()
	if _, parked := d.parked[row.ID]; parked {
		d.mu.Unlock()
		return true
	}
	l := d.lanes[row.ID]
	fresh := l == nil
	if fresh {
		if shard := row.ID.Shard(); !awake && len(d.sleepers) == cap(d.sleepers) {
			if !d.behind[shard] {
				d.behind[shard] = true
				d.backlog = append(d.backlog, shard)
			}
			d.mu.Unlock()
			return true
		}
		l = &lane{id: row.ID, due: make(map[string]int64, 1)}
		d.lanes[row.ID] = l
	}
	l.add(row)
	d.mu.Unlock()
	switch {
	case !fresh:
	case awake:
		return d.serve(l, quit)
	default:
		d.sleepers <- l // has room: nobody else puts lanes there
	}
	return true
}

func (l *lane) add(row *store.DueRow) {
	at := row.Due.UnixMicro()
	switch known, ok := l.due[string(row.Key)]; {
	case ok:
		l.more = l.more || known != at
	case len(l.waiting) >= duePage:
		l.more = true
	default:
		l.waiting = append(l.waiting, row.Key)
		l.due[string(row.Key)] = at
	}
}

// wake serves the lanes of actors that sleep, as fast as they may be woken.
func (d *dispatcher) wake(quit <-chan struct{}) {
	for {
		select {
		case <-quit:
			return
		case l := <-d.sleepers:
			if d.host.table.withID(l.id) == nil && !d.wakes.take(quit) || !d.serve(l, quit) {
				return
			}
			d.catchUp()
		}
	}
}

// catchUp has shards read again whose sleepers did not fit, now that others have
// been woken: one by one, and all of them when nobody waits who would do it later.
func (d *dispatcher) catchUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.sleepers) > cap(d.sleepers)/2 {
		return
	}
	for len(d.backlog) > 0 {
		shard := d.backlog[0]
		d.backlog = d.backlog[1:]
		delete(d.behind, shard)
		d.expectLocked(shard, time.Now().UnixMicro())
		if len(d.sleepers) > 0 {
			return
		}
	}
}

// serve begins to settle the rows of a lane, once there is a slot; false means that
// the host stops.
func (d *dispatcher) serve(l *lane, quit <-chan struct{}) bool {
	select {
	case d.slots <- struct{}{}:
	case <-quit:
		return false
	}
	d.host.running.Go(func() {
		defer func() { <-d.slots }()
		for d.settleNext(l) {
		}
	})
	return true
}

// settleNext settles the next row of a lane; false means that there is none.
func (d *dispatcher) settleNext(l *lane) bool {
	d.mu.Lock()
	if len(l.waiting) == 0 {
		delete(d.lanes, l.id)
		if l.more {
			d.expectLocked(l.id.Shard(), time.Now().UnixMicro())
		}
		d.mu.Unlock()
		return false
	}
	key, shard := l.waiting[0], l.id.Shard()
	l.waiting = l.waiting[1:]
	d.busy[shard]++
	d.mu.Unlock()
	lifts := d.host.lifts.Load()

	ctx := context.Background()
	addr, err := d.settleRow(ctx, l.id, key)
	if needsLifting(err) {
		d.park(l.id, addr, lifts, err)
	}
	var until time.Time
	if cannotWake(err) {
		until = d.host.crashes.get(addr).until
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[shard]--; d.busy[shard] == 0 {
		delete(d.busy, shard)
	}
	delete(l.due, string(key))
	switch {
	case err == nil, needsLifting(err), d.host.closing.Load(), !d.host.admits(shard):
	case errors.Is(err, errDueAgain):
		d.expectLocked(l.id.Shard(), time.Now().UnixMicro())
	case time.Now().Before(until): // it was said when it crashed
		d.expectLocked(l.id.Shard(), ceilMicro(until))
	default:
		d.host.log.Warn("a row that is due could not be settled", slog.String("actor_id", l.id.String()), slog.Any("error", err))
		d.expectLocked(l.id.Shard(), time.Now().Add(dueRetry).UnixMicro())
	}
	return true
}

// settleRow settles a row if it is still due, and says whose it is, as far as that is
// known. The index was read before commits that were under way were durable; the row is
// not handed out before they are.
func (d *dispatcher) settleRow(ctx context.Context, id store.ID, key []byte) (addr store.Address, err error) {
	h := d.host
	if d.pace != nil {
		d.pace.take(h.quit) // if that was closed, nothing enters
	}
	if err := h.enter(); err != nil {
		return addr, err
	}
	defer h.leave()
	if !h.admits(id.Shard()) {
		return addr, nil // whoever has it now, finds it
	}
	rows, err := h.store.Scan(ctx, id, d.kind, store.Range{From: key, To: append(slices.Clip(key), 0), Limit: 1})
	if errors.Is(err, store.ErrCorrupt) {
		h.log.Error("a row that is due is damaged", slog.String("actor_id", id.String()), slog.Any("error", err))
		addr, _ = h.addressOf(ctx, id)
		return addr, dataLoss()
	}
	if err != nil || len(rows) == 0 || rows[0].Due.IsZero() {
		return addr, err
	}
	if rows[0].Due.After(time.Now()) { // the clock may have gone back since it was due
		d.expect(id.Shard(), rows[0].Due)
		return addr, nil
	}
	addr, err = h.addressOf(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return addr, nil
	case errors.Is(err, store.ErrCorrupt):
		return addr, dataLoss()
	case err != nil:
		return addr, err
	}
	if h.types[addr.Type] == nil {
		return addr, fmt.Errorf("%w %q", errUnknownType, addr.Type)
	}
	if i := h.table.peek(addr); i != nil {
		if err := i.durable(ctx); err != nil {
			return addr, err
		}
	}
	return addr, d.settle(ctx, addr, store.DueRow{ID: id, Row: rows[0]})
}

// errUnknownType says that rows are of an actor which this server has no code for.
var errUnknownType = errors.New("actors: this server has no actor type")

// bucket lets so many through in a second, and a tenth of them at once.
type bucket struct {
	interval time.Duration
	burst    time.Duration

	mu   sync.Mutex
	next time.Time // guarded by mu
}

func newBucket(perSecond int) *bucket {
	return &bucket{interval: time.Second / time.Duration(perSecond), burst: time.Second / 10}
}

// take waits for its turn; false means that quit was closed first.
func (b *bucket) take(quit <-chan struct{}) bool {
	b.mu.Lock()
	now := time.Now()
	if full := now.Add(-b.burst); b.next.Before(full) {
		b.next = full
	}
	b.next = b.next.Add(b.interval)
	wait := b.next.Sub(now)
	b.mu.Unlock()
	return sleep(wait, quit)
}

// sleep waits for some time; false means that quit was closed first.
func sleep(wait time.Duration, quit <-chan struct{}) bool {
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-quit:
		return false
	}
}
