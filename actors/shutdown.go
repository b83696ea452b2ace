// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

// sweepInterval is how exactly [SleepAfter] is kept.
const sweepInterval = time.Second

// sweep puts idle actors to sleep until stop is closed.
func (h *Host) sweep(stop <-chan struct{}) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-ticker.C:
			h.relieve()
			h.table.all(func(i *instance) {
				if !h.closing.Load() { // sleepAll takes over
					i.sleepIfIdle(now)
				}
			})
		}
	}
}

// sleepIfIdle takes an actor out of memory that has not been used for its type's
// time. Its connections stay.
func (i *instance) sleepIfIdle(now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	idle := now.Sub(i.lastUsed)
	if i.gone || idle < i.typ.limits.sleepAfter || !i.idleLocked() || i.body.keptLocked(idle) {
		return
	}
	i.sleepLocked()
}

func (i *instance) idleLocked() bool {
	return i.body != nil && i.queue.len == 0 && !i.writing && i.readers == 0 && i.undurable == 0 && i.entry == nil
}

// sleepLocked takes an idle actor out of memory, after its sleep hook if it has
// one. It returns the hook's turn, or nil.
func (i *instance) sleepLocked() *turn {
	if i.typ.hooks.sleep == nil {
		i.dropLocked()
		i.forgetLocked()
		return nil
	}
	t := i.sleepTurn()
	i.queue.push(t)
	i.dispatchLocked()
	return t
}

// sleepTurn makes the turn after which the actor leaves memory: it runs the sleep hook,
// if there is one.
func (i *instance) sleepTurn() *turn {
	t := i.host.newTurn(context.Background(), i.typ, nil, func(t *turn, b *body) error {
		if i.typ.hooks.sleep == nil {
			return nil
		}
		if err := t.within("sleep", i.typ.limits.hooks.Sleep, func() error { return i.typ.hooks.sleep(b.actor, t) }); err != nil {
			i.logger().Error("the sleep hook failed", slog.Any("error", err))
			return err
		}
		return nil
	})
	t.inst, t.sleep = i, true
	return t
}

// Shutdown ends every subscription with a closing frame and the context of whatever
// runs beside an actor, refuses new calls, waits for the turns that run, for their
// commits, for streaming actions and for other work beside the actors, that for
// [WaitUntilTimeout] at most, and puts every actor to sleep. If ctx ends first it
// returns at once with an error; what was acknowledged is durable all the same. If
// ctx has ended already, no sleep or disconnect hook runs.
func (h *Host) Shutdown(ctx context.Context) error {
	if ctx.Err() != nil {
		h.abrupt.Store(true)
	}
	h.closing.Store(true)
	h.table.all(func(i *instance) {
		i.mu.Lock()
		conns := i.conns
		if i.body != nil {
			i.body.stopIfClosingLocked()
		}
		i.mu.Unlock()
		if seedbug.On(19) {
			return
		}
		for _, conn := range conns {
			conn.close(closing{reason: troupev1.CloseReason_CLOSE_REASON_SHUTDOWN, message: "the server is stopping", reconnectAfter: time.Second})
		}
	})
	if h.inFlight.Load() == 0 {
		h.drainOne.Do(func() { close(h.drained) })
	}
	h.stopOne.Do(func() {
		close(h.quit)
		go func() {
			defer close(h.stopped)
			<-h.drained
			h.subscribers.Wait()
			h.works.await()
			h.silent.Store(true)
			if !h.abrupt.Load() {
				h.sleepAll()
			}
			close(h.stop)
			h.committer.drain()
			h.workers.close()
			h.running.Wait()
		}()
	})
	select {
	case <-h.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("actors: %d calls were still running when the time to stop was over: %w", h.inFlight.Load(), ctx.Err())
	}
}

// sleepAll puts every actor to sleep and waits for their sleep hooks.
func (h *Host) sleepAll() {
	var hooks []*turn
	h.table.all(func(i *instance) {
		i.mu.Lock()
		defer i.mu.Unlock()
		// One that is not idle has been answered and settles, or is at its sleep hook.
		if i.idleLocked() || i.body != nil && i.typ.hooks.sleep != nil {
			if t := i.sleepLocked(); t != nil {
				hooks = append(hooks, t)
			}
		}
	})
	for _, t := range hooks {
		<-t.ready
		if t.err != nil && !errors.Is(t.err, errAbsent) && !errors.Is(t.err, errIncarnationGone) {
			h.log.Error("an actor did not go to sleep well", slog.Any("error", t.err))
		}
	}
}
