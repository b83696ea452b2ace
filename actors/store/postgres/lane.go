// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/troupe-dev/troupe/actors/store"
)

// lane sends the writes of some shards over one connection, one statement after the
// other: while one is on its way, the next ones gather.
type lane struct {
	store  *Store
	number int

	mu       sync.Mutex
	queue    []item
	stopping bool          // guarded by mu
	added    uint64        // guarded by mu; items, ever
	finished uint64        // guarded by mu; items whose fate is known
	newest   []uint64      // guarded by mu; for each shard, the number of its newest item
	unsure   bool          // guarded by mu; doubt, as readers see it
	asked    bool          // guarded by mu; a reader wants to know what became of the statement in doubt
	tries    uint64        // guarded by mu; how often the lane has tried to find out
	progress chan struct{} // guarded by mu; closed when finished or tries grows; nil if nobody waits
	wake     chan struct{} // has one when there is something to do

	// The rest belongs to the goroutine of run.
	conn     *pgx.Conn // nil if there is none
	prepared *pgconn.StatementDescription
	node     *node  // whose lane the connection is
	seq      int64  // of the newest statement that was committed
	doubt    bool   // the one after it may have been
	warning  string // what the server had to say about the statement
	batch    batch
	seen     seen
}

func newLane(s *Store, number int) *lane {
	return &lane{
		store: s, number: number,
		newest: make([]uint64, s.meta.shards),
		wake:   make(chan struct{}, 1),
	}
}

// add puts items behind those that wait.
func (l *lane) add(items []item) {
	l.mu.Lock()
	l.queue = append(l.queue, items...)
	for i := range items {
		l.added++
		l.newest[store.ShardOf(items[i].write.Record.Address, l.store.meta.shards)] = l.added
	}
	l.mu.Unlock()
	l.signal()
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// stop ends run once nothing waits.
func (l *lane) stop() {
	l.mu.Lock()
	l.stopping = true
	l.mu.Unlock()
	l.signal()
}

// await waits until a shard can be read: the fate of everything is known that has been
// added for it. What a reader is shown must last, so as long as a statement is in doubt,
// which may be on a primary without its standby, the answer is [store.ErrUnavailable].
func (l *lane) await(ctx context.Context, shard uint16) error {
	l.mu.Lock()
	target := l.newest[shard]
	l.mu.Unlock()
	if err := l.reach(ctx, target); err != nil {
		return err
	}
	return l.certain(ctx)
}

// settled waits until the fate of everything is known that has been added, or that it
// stays unknown.
func (l *lane) settled(ctx context.Context) error {
	l.mu.Lock()
	target := l.added
	l.mu.Unlock()
	return l.reach(ctx, target)
}

func (l *lane) reach(ctx context.Context, target uint64) error {
	return l.until(ctx, func() bool { return l.finished >= target })
}

// certain waits until no statement is in doubt, or the lane has tried to find out.
func (l *lane) certain(ctx context.Context) error {
	l.mu.Lock()
	unsure, target := l.unsure, l.tries+1
	l.asked = l.asked || unsure
	l.mu.Unlock()
	if !unsure {
		return nil
	}
	l.signal()
	if err := l.until(ctx, func() bool {
		unsure = l.unsure
		return !unsure || l.tries >= target
	}); err != nil {
		return err
	}
	if unsure {
		if err := l.store.node.Load().err(); err != nil {
			return err
		}
		return fmt.Errorf("postgres store: %w: what became of a commit is not known yet", store.ErrUnavailable)
	}
	return nil
}

// until waits until done, which is called with mu held.
func (l *lane) until(ctx context.Context, done func() bool) error {
	for {
		l.mu.Lock()
		if done() {
			l.mu.Unlock()
			return nil
		}
		if l.progress == nil {
			l.progress = make(chan struct{})
		}
		progress := l.progress
		l.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *lane) finish(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished += uint64(n)
	l.tries++
	l.unsure = l.doubt
	if l.progress != nil {
		close(l.progress)
		l.progress = nil
	}
}

// run commits what comes until stop.
func (l *lane) run() {
	var waiting []item
	for range l.wake {
		for {
			l.mu.Lock()
			waiting = append(waiting, l.queue...)
			clear(l.queue)
			l.queue = l.queue[:0]
			stopping, asked := l.stopping, l.asked
			l.asked = false
			l.mu.Unlock()
			if len(waiting) == 0 {
				if stopping {
					l.hangUp(context.Background())
					return
				}
				if !asked {
					break
				}
				l.clear()
				l.finish(0)
				continue
			}
			n := l.seen.together(waiting)
			l.commit(waiting[:n])
			l.finish(n)
			left := copy(waiting, waiting[n:])
			clear(waiting[left:])
			waiting = waiting[:left]
		}
	}
}

// seen tells how many of those that wait make one statement.
type seen struct {
	ids       map[store.ID]struct{}
	addresses map[store.Address]struct{}
}

// together returns how many items from the first one on go into one statement: of one
// node, no actor twice, and not too much. One that mends a record goes alone.
func (s *seen) together(items []item) int {
	if len(items) == 1 {
		return 1
	}
	if s.ids == nil {
		s.ids, s.addresses = make(map[store.ID]struct{}), make(map[store.Address]struct{})
	}
	clear(s.ids)
	clear(s.addresses)
	size := 0
	for i := range items {
		r := &items[i].write.Record
		_, sameID := s.ids[r.ID]
		_, sameAddress := s.addresses[r.Address]
		size += writeSize(items[i].write)
		if i > 0 && (i == maxActors || size > softBytes || sameID || sameAddress || items[i].node != items[0].node || items[i].write.Mend || items[0].write.Mend) {
			return i
		}
		s.ids[r.ID], s.addresses[r.Address] = struct{}{}, struct{}{}
	}
	return len(items)
}

func writeSize(w *store.Write) int {
	size := len(w.Record.State) + len(w.Record.Key)
	for i := range w.Rows {
		size += len(w.Rows[i].Key) + len(w.Rows[i].Value)
	}
	return size
}

// answer is what the database says about a statement.
type answer struct {
	all  bool // every write was taken
	won  [][16]byte
	void bool // nothing of it was taken, and nothing will be
	dead bool // nothing of it was taken, and the node may not commit any more
	lost bool // the database has forgotten the commit before: nothing can be said
}

// commit sees to the fate of items, which make one statement.
func (l *lane) commit(items []item) {
	n := items[0].node
	if err := n.err(); err != nil {
		l.fail(items, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.store.opts.Patience)
	defer cancel()
	began := time.Now()
	l.batch.fill(n, l.number, items)
	got, err := l.attempts(ctx, n)
	l.store.metrics.commit(len(items), l.batch.rows, time.Since(began))
	var server *pgconn.PgError
	switch {
	case err == nil:
		l.settle(items, n, got)
	case len(items) > 1 && fateOf(err) == fateRefused && errors.As(err, &server) && ofData(server):
		// One of them it is that the database does not take, or cannot find.
		half := len(items) / 2
		l.commit(items[:half])
		l.commit(items[half:])
	default:
		l.fail(items, err)
	}
}

// ofData reports whether the database refuses a statement for what it was given or for
// what it has stored.
func ofData(err *pgconn.PgError) bool {
	if damage(err) {
		return true
	}
	switch err.Code[:min(2, len(err.Code))] {
	case "21", "22", "23", "54":
		return true
	}
	return false
}

// attempts sends the statement, over and over if need be, until its fate is known or
// patience ends.
func (l *lane) attempts(ctx context.Context, n *node) (answer, error) {
	ours := false // the statement in doubt is this one
	var last error
	failed := func(err error) { // what cuts the last attempt short tells nothing
		if ctx.Err() == nil || last == nil {
			last = err
		}
	}
	for pause := newPause(); ; {
		if ctx.Err() != nil {
			if ours {
				l.store.metrics.unknown.Add(1)
				return answer{}, fmt.Errorf("%w: %w", store.ErrUnknown, last)
			}
			return answer{}, fmt.Errorf("postgres store: the database did not answer in %v: %w", l.store.opts.Patience, last)
		}
		if err := n.err(); err != nil && !ours {
			return answer{}, err
		}
		if err := l.open(ctx, n); err != nil {
			failed(err)
			pause.wait(ctx)
			continue
		}
		if l.doubt {
			got, err := l.ask(ctx)
			switch {
			case err != nil:
				failed(err)
				l.hangUp(ctx)
				pause.wait(ctx)
			case !ours && got.lost:
				return answer{dead: true}, nil // nothing of ours was sent
			case ours && !got.void:
				got.dead = false // it was taken while the node was alive; the next one is refused
				return got, nil
			case got.dead:
				return answer{dead: true}, nil
			default:
				ours = false
			}
			continue
		}
		got, err := l.send(ctx)
		if err == nil {
			return got, nil
		}
		if errors.Is(err, store.ErrUnknown) { // as far as anybody can tell
			l.store.metrics.unknown.Add(1)
			return answer{}, err
		}
		failed(err)
		switch fateOf(err) {
		case fateRefused:
			return answer{}, err
		case fateUnknown:
			l.doubt, ours = true, true
			l.store.metrics.lost.Add(1)
			l.store.opts.Logger.Warn("the answer to a commit was lost", "lane", l.number, "error", err)
			l.hangUp(ctx)
		case fateNothing:
			l.hangUp(ctx)
		case fateAgain:
			l.store.metrics.retried.Add(1)
			pause.wait(ctx)
			if l.conn.IsClosed() || readOnly(err) {
				l.hangUp(ctx)
			}
		}
	}
}

// clear finds out what became of the statement in doubt, as long as patience lasts.
func (l *lane) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), l.store.opts.Patience)
	defer cancel()
	n := l.store.node.Load()
	for pause := newPause(); l.doubt && n.err() == nil && ctx.Err() == nil; {
		err := l.open(ctx, n)
		if err == nil && l.doubt { // which another node has not
			var got answer
			if got, err = l.ask(ctx); got.lost || got.dead {
				l.store.fence(n, "the database takes nothing more from this node")
			}
		}
		if err != nil {
			l.hangUp(ctx)
			pause.wait(ctx)
		}
	}
}

func readOnly(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == "25006"
}

// settle tells each item what became of it.
func (l *lane) settle(items []item, n *node, got answer) {
	switch {
	case got.lost:
		l.store.fence(n, "the database has lost commits; this node is out")
		l.fail(items, fmt.Errorf("%w: the database has gone back to a time before it", store.ErrUnknown))
		return
	case got.dead:
		l.store.fence(n, "the database takes nothing more from this node")
		l.fail(items, n.err())
		return
	case got.all:
		for i := range items {
			items[i].done(nil)
		}
		return
	}
	won := make(map[[16]byte]struct{}, len(got.won))
	for _, id := range got.won {
		won[id] = struct{}{}
	}
	for i := range items {
		err := error(nil)
		if _, ok := won[items[i].write.Record.ID]; !ok {
			err = store.ErrConflict
			if items[i].write.Op == store.OpCreate {
				err = store.ErrExists
			}
			l.store.metrics.refused.Add(1)
		}
		items[i].done(err)
	}
}

func (l *lane) fail(items []item, err error) {
	l.store.metrics.failed.Add(uint64(len(items)))
	if !errors.Is(err, store.ErrUnknown) && !errors.Is(err, store.ErrFenced) {
		err = refusal(err)
	}
	for i := range items {
		items[i].done(err)
	}
}
