// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// paceFloor is how many runs may begin in a second whatever commits take.
	paceFloor = 500
	// paceBurst is how many runs may begin at once after a rest.
	paceBurst = 32
	// paceWindow is how long commits are watched before the rate changes; it is
	// longer, up to paceWait, until paceSamples have been seen.
	paceWindow  = 100 * time.Millisecond
	paceWait    = time.Second
	paceSamples = 8
	// paceProbe is how often a window is spent at paceFloor.
	paceProbe = 3 * time.Second
	// paceLinger is how long after a call another one is expected.
	paceLinger = 10 * time.Second
	// paceNotice is how exactly the time of the last call is known.
	paceNotice = 100 * time.Millisecond
	// paceStrain is how many times as long commits may take as beside few runs.
	paceStrain = 1.15
	// paceRise and paceFall are what the rate of a window is multiplied by.
	paceRise, paceFall = 1.05, 0.9
)

// pace holds back what nobody waits for, the runs of schedules, while there are calls,
// which somebody does wait for. Without calls, runs begin at once.
//
// It watches how long commits take, since that is where runs get into a call's way: in
// the queue of the disk, and in that of the processors, which whoever has waited for
// the disk must pass again. While they take little longer than beside few runs, more
// may begin in a second, and fewer otherwise. What is normal is looked up every few
// seconds, in a window with few runs, because it depends on the calls, too. (Delay as
// the sign that background work is in the way: Shalunov et al., LEDBAT, RFC 6817, 2012.
// Slowing down for a moment to learn what is normal: Cardwell et al., BBR, 2016.)
type pace struct {
	called atomic.Int64 // when the last call came, in milliseconds since 1970, to paceNotice

	mu     sync.Mutex
	idle   bool      // guarded by mu; there are no calls
	rate   float64   // guarded by mu; runs a second
	next   time.Time // guarded by mu; when the next run may begin
	slow   bool      // guarded by mu; the window is to have few runs
	normal float64   // guarded by mu; mean of the last slow window
	probed time.Time // guarded by mu; the end of the last slow window

	// The window, guarded by mu.
	since   time.Time
	begun   int     // runs
	commits int     // that have ended
	sum     float64 // of the logarithms of what they took, of which a few that stall say little
}

func newPace() *pace { return &pace{rate: paceFloor} }

// call takes note of a call.
func (p *pace) call(now time.Time) {
	at := now.UnixMilli()
	if since := at - p.called.Load(); since < 0 || since >= paceNotice.Milliseconds() { // the clock may have gone back
		p.called.Store(at)
	}
}

// committed takes note of what a commit took.
func (p *pace) committed(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commits++
	p.sum += math.Log2(float64(max(took, time.Microsecond)))
}

// take waits until a run may begin, or quit is closed.
func (p *pace) take(quit <-chan struct{}) { sleep(p.reserve(time.Now()), quit) }

// reserve returns how long its caller must wait before a run begins.
func (p *pace) reserve(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turnLocked(now)
	if p.idle {
		return 0
	}
	p.begun++
	rate := p.rate
	if p.slow {
		rate = paceFloor
	}
	interval := time.Duration(float64(time.Second) / rate)
	if full := now.Add(-paceBurst * interval); p.next.Before(full) {
		p.next = full
	}
	p.next = p.next.Add(interval)
	return p.next.Sub(now)
}

// turnLocked begins a new window if the last one is over, and learns from that.
func (p *pace) turnLocked(now time.Time) {
	since := now.UnixMilli() - p.called.Load()
	if p.idle = max(since, -since) > paceLinger.Milliseconds(); p.idle {
		return
	}
	switch age := now.Sub(p.since); {
	case age > 2*paceWait: // most of it was without runs or without calls
		p.slow = true
	case age < paceWindow, p.commits < paceSamples && age < paceWait:
		return
	case p.commits > 0:
		p.learnLocked(now, age)
	}
	p.since, p.begun, p.commits, p.sum = now, 0, 0, 0
}

// learnLocked sets the rate by what commits took in the window.
func (p *pace) learnLocked(now time.Time, age time.Duration) {
	mean, used := p.sum/float64(p.commits), float64(p.begun)/age.Seconds()
	switch {
	case p.slow:
		p.normal, p.probed = mean, now
	case mean > p.normal+math.Log2(paceStrain):
		p.rate = max(min(p.rate, used)*paceFall, paceFloor)
	case used > p.rate/2: // otherwise nobody knows whether there can be more
		p.rate *= paceRise
	}
	p.slow = now.Sub(p.probed) >= paceProbe
}
