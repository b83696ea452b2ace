// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"container/list"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
)

// How long an actor that failed to wake is left alone: twice as long each time.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// Bounds of what a host remembers of failures.
const (
	maxCrashes    = 4096
	maxCrashBytes = 1 << 10 // of an error's text
)

// crash is what a host remembers of an actor that failed.
type crash struct {
	addr     store.Address
	failures int       // wakes that failed in a row
	until    time.Time // when the next wake may be tried
	unusable string    // the reason to refuse calls with until it is lifted
	text     string
	at       time.Time
}

// refuses reports whether calls are refused at a time.
func (c *crash) refuses(now time.Time) bool { return c.unusable != "" || now.Before(c.until) }

// crashes remembers failures, the newest of a bounded number of actors. An actor
// that is forgotten is tried as if it had never failed, and is found unusable again.
type crashes struct {
	size atomic.Int32 // of byAddr, so that a host without failures takes no lock

	mu     sync.Mutex
	byAddr map[store.Address]*list.Element // guarded by mu
	order  list.List                       // guarded by mu; of *crash, the newest failure last
}

func newCrashes() *crashes { return &crashes{byAddr: make(map[store.Address]*list.Element)} }

// get returns what is known of an actor.
func (c *crashes) get(addr store.Address) crash {
	if c.size.Load() == 0 {
		return crash{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.byAddr[addr]; known != nil {
		return *known.Value.(*crash) //nolint:forcetypeassert // the list's only type
	}
	return crash{}
}

// update changes what is known of an actor that has failed just now.
func (c *crashes) update(addr store.Address, failure error, change func(*crash)) crash {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.byAddr[addr]
	if known == nil {
		if c.order.Len() >= maxCrashes {
			c.forgetLocked(c.order.Front())
		}
		known = c.order.PushBack(&crash{addr: addr})
		c.byAddr[addr] = known
	}
	c.order.MoveToBack(known)
	entry := known.Value.(*crash) //nolint:forcetypeassert // the list's only type
	entry.at = time.Now()
	entry.text = failure.Error()
	if len(entry.text) > maxCrashBytes {
		entry.text = entry.text[:maxCrashBytes] + "…"
	}
	change(entry)
	c.size.Store(int32(len(c.byAddr)))
	return *entry
}

// recovered notes that an actor woke. What went wrong before is still told.
func (c *crashes) recovered(addr store.Address) {
	if c.size.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.byAddr[addr]; known != nil {
		entry := known.Value.(*crash) //nolint:forcetypeassert // the list's only type
		entry.failures, entry.until, entry.unusable = 0, time.Time{}, ""
	}
}

// forget forgets an actor's failures.
func (c *crashes) forget(addr store.Address) {
	if c.size.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.byAddr[addr]; known != nil {
		c.forgetLocked(known)
	}
}

// forgetShards forgets the failures of the actors of some shards.
func (c *crashes) forgetShards(some shardSet, shards uint16) {
	if c.size.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr, known := range c.byAddr {
		if some.has(store.ShardOf(addr, shards)) {
			c.forgetLocked(known)
		}
	}
}

func (c *crashes) forgetLocked(known *list.Element) {
	delete(c.byAddr, c.order.Remove(known).(*crash).addr) //nolint:forcetypeassert // the list's only type
	c.size.Store(int32(len(c.byAddr)))
}

// backoff is how long to wait after so many failures in a row: up to a quarter more
// than twice the time before, so that actors which failed together part.
func backoff(failures int) time.Duration {
	d := minBackoff << min(failures-1, 16)
	return min(d+rand.N(d/4), maxBackoff) //nolint:gosec // no secret
}

// unusableError is what is wrong with a stored state: no use to try again.
type unusableError struct{ error }

func (e *unusableError) Unwrap() error { return e.error }

// wakeError is why an actor did not wake.
type wakeError struct{ error }

func (e *wakeError) Error() string { return "wake: " + e.error.Error() }

func (e *wakeError) Unwrap() error { return e.error }

// cannotWake reports whether a call failed because its actor does not wake.
func cannotWake(err error) bool {
	if _, ok := errors.AsType[*wakeError](err); ok {
		return true
	}
	_, ok := errors.AsType[*notAwakeError](err)
	return ok
}

// notAwakeError refuses a call of an actor that cannot be woken.
type notAwakeError struct{ *refusalError }

func (e *notAwakeError) Unwrap() error { return e.refusalError }

// Reasons of actors that cannot be used.
const (
	reasonQuarantined = "actor_quarantined"
	reasonDataLoss    = "data_loss"
)

// refusal is what a call of a crashed actor is answered with, nil if it may be tried.
func (c *crash) refusal(now time.Time) error {
	var wire *connect.Error
	switch {
	case c.unusable == reasonDataLoss:
		wire = refusal(connect.CodeDataLoss, reasonDataLoss, notExecuted, "the actor's stored data is corrupt")
	case c.unusable != "":
		wire = refusal(connect.CodeFailedPrecondition, c.unusable, notExecuted,
			"the actor's stored state cannot be used; those who run the server can export, repair, reset or destroy it")
	case now.Before(c.until):
		wire = retryable(refusal(connect.CodeUnavailable, "actor_crashed", notExecuted,
			"the actor failed to start %d times and is left alone for a while", c.failures), c.until.Sub(now))
	default:
		return nil
	}
	return &notAwakeError{&refusalError{wire}}
}

// quarantine has calls of the actor refused from now on.
func (i *instance) quarantine(reason string, failure error) error {
	i.logger().Error("an actor's stored state cannot be used; it is quarantined",
		slog.String("reason", reason), slog.Any("error", failure))
	known := i.host.crashes.update(i.addr, failure, func(c *crash) { c.unusable = reason })
	return known.refusal(time.Now())
}

func stateTooNew(version, newest uint32) error {
	return &notAwakeError{&refusalError{refusal(connect.CodeFailedPrecondition, "state_too_new", notExecuted,
		"the actor's state has version %d and this server's code reads up to %d", version, newest)}}
}

// revive wakes an actor and keeps book of how that went.
func (i *instance) revive(t *turn, record store.Record) error {
	if err := i.unfit(record); err != nil {
		return err
	}
	err := protect(func() error { return i.wake(t, record) })
	unusable, bad := errors.AsType[*unusableError](err)
	switch {
	case err == nil:
		i.host.crashes.recovered(i.addr)
		i.host.unpark(i.addr)
		return nil
	case err == errDiscarded || err == errDestroyedInWake: //nolint:errorlint // our own, never wrapped
		return err
	case bad:
		return i.quarantine(reasonQuarantined, unusable.error)
	case t.status.Load() == turnSealed && !t.hookLate.Load():
		return err // its caller's time was over, which says nothing of the actor
	}
	i.crashed(record.ID, err)
	return &wakeError{err}
}

// crashed has the actor left alone for a while after it failed to wake.
func (i *instance) crashed(id store.ID, failure error) {
	known := i.host.crashes.update(i.addr, failure, func(c *crash) {
		c.failures++
		c.until = time.Now().Add(backoff(c.failures))
	})
	i.logger().Error("an actor failed to wake", slog.Any("error", failure),
		slog.Int("failures", known.failures), slog.Duration("backoff", time.Until(known.until)))
	i.react(id, time.Until(known.until))
}

// panicked notes a panic of the actor's code in a turn, once the actor is out of
// memory: a restart would find it awake otherwise.
func (i *instance) panicked(failure error) {
	i.host.crashes.update(i.addr, failure, func(*crash) {})
	i.react(i.id, 0)
}
