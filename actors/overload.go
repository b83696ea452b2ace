// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"math"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
)

// wakePatience is how long an actor waits for its turn to come into memory.
const wakePatience = 2 * time.Second

// MailboxBytes bounds the requests that wait for an actor's turn, in bytes as
// encoded. Default 8 MiB. One more is refused with resource_exhausted.
func MailboxBytes(n int) Option {
	return positive("MailboxBytes", n, func(l *limits) { l.mailboxBytes = n })
}

// MailboxAge is how long the first call in an actor's mailbox may have waited while
// others are still let in. Default 10 s. It keeps callers from queueing behind a turn
// that does not end.
func MailboxAge(d time.Duration) Option {
	return positive("MailboxAge", d, func(l *limits) { l.mailboxAge = d })
}

// overloadedLocked refuses a turn for which the mailbox has no room.
func (i *instance) overloadedLocked(t *turn) error {
	limits := &i.typ.limits
	first := i.queue.head
	switch {
	case first == nil:
		return nil
	case i.queue.len >= limits.mailbox:
		return mailboxFull("%d calls wait for this actor; try again later", i.queue.len)
	case t.queuedAt.Sub(first.queuedAt) > limits.mailboxAge:
		return mailboxFull("a call has waited %s for this actor; try again later", t.queuedAt.Sub(first.queuedAt).Round(time.Second))
	}
	if t.call != nil && t.call.Request != nil {
		t.bytes = int32(min(proto.Size(t.call.Request), math.MaxInt32))
	}
	if i.queue.bytes+int(t.bytes) > limits.mailboxBytes {
		return mailboxFull("%d bytes of requests wait for this actor; try again later", i.queue.bytes)
	}
	return nil
}

func mailboxFull(format string, args ...any) error {
	return &refusalError{retryable(refusal(connect.CodeResourceExhausted, "mailbox_full", notExecuted, format, args...), 100*time.Millisecond)}
}

// gate bounds how many actors come into memory at one time.
type gate chan struct{}

// enter waits for a place and returns what gives it back.
func (g gate) enter() (leave func(), err error) {
	leave = func() { <-g }
	select {
	case g <- struct{}{}:
		return leave, nil
	default:
	}
	timer := time.NewTimer(wakePatience)
	defer timer.Stop()
	select {
	case g <- struct{}{}:
		return leave, nil
	case <-timer.C:
		return nil, &refusalError{retryable(refusal(connect.CodeUnavailable, "too_many_wakes", notExecuted,
			"%d actors are coming into memory; try again later", cap(g)), time.Second)}
	}
}

// Shares of the memory limit from which on a host sheds load. What is compared is the
// heap that was live at the last garbage collection.
const (
	sleepShare = 0.60 // idle actors sleep, the longest unused first
	wakeShare  = 0.85 // no actor comes into memory
	writeShare = 0.95 // nothing is written
)

// pressure is how close the process is to its memory limit.
type pressure struct {
	limit  float64 // 0 means none
	read   func() (live, cycle uint64)
	share  atomic.Uint64 // bits of the newest share
	cycles uint64        // as of the last time that actors were put to sleep
}

func newPressure(cfg Config) *pressure {
	p := &pressure{limit: float64(cfg.MemoryLimit), read: cfg.liveHeap}
	if p.limit == 0 {
		if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
			p.limit = float64(limit)
		}
	}
	if p.read == nil {
		p.read = liveHeap
	}
	return p
}

func liveHeap() (live, cycle uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}

// above reports whether the heap has reached a share of the limit.
func (p *pressure) above(share float64) bool {
	return math.Float64frombits(p.share.Load()) >= share
}

// relieve measures, and puts a quarter of the idle actors to sleep if memory is
// short: once for each garbage collection, which shows what that has freed.
func (h *Host) relieve() {
	p := h.pressure
	if p.limit <= 0 {
		return
	}
	live, cycle := p.read()
	p.share.Store(math.Float64bits(float64(live) / p.limit))
	if !p.above(sleepShare) || cycle == p.cycles {
		return
	}
	p.cycles = cycle
	type candidate struct {
		*instance
		lastUsed time.Time
	}
	var idle []candidate
	h.table.all(func(i *instance) {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.dispensableLocked() {
			idle = append(idle, candidate{i, i.lastUsed})
		}
	})
	slices.SortFunc(idle, func(a, b candidate) int { return a.lastUsed.Compare(b.lastUsed) })
	for _, c := range idle[:(len(idle)+3)/4] {
		c.mu.Lock()
		if c.dispensableLocked() && !h.closing.Load() {
			c.sleepLocked()
		}
		c.mu.Unlock()
	}
}

// dispensableLocked reports whether an actor may sleep before its time.
func (i *instance) dispensableLocked() bool {
	return !i.gone && i.idleLocked() && !i.body.keptLocked(0) && i.typ.limits.sleepAfter != neverSleeps
}

// shed refuses a turn for which there is no memory.
func (i *instance) shed(t *turn) error {
	p := i.host.pressure
	switch {
	case t.call == nil || p.limit <= 0:
		return nil
	case !t.readOnly && p.above(writeShare), t.body == nil && p.above(wakeShare):
		return &refusalError{retryable(refusal(connect.CodeResourceExhausted, "memory_short", notExecuted,
			"the server is short of memory; try again later"), time.Second)}
	}
	return nil
}
