// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// maxBuckets bounds the memory of one [rateLimit]. Beyond it some caller's past is
// forgotten, which lets that caller burst again.
const maxBuckets = 1 << 16

// rateLimit bounds how often each of many callers does something. It is safe for
// concurrent use. The nil limit bounds nothing.
type rateLimit struct {
	interval time.Duration // between two events in the long run
	slack    time.Duration // by how much a burst may run ahead

	mu     sync.Mutex
	due    map[uint64]time.Time // when the next event of a key is due; guarded by mu
	pruned time.Time            // guarded by mu
}

// newRateLimit lets each key have perMinute events a minute, and burst of them at
// once. It is nil if perMinute is 0.
func newRateLimit(perMinute, burst int) *rateLimit {
	if perMinute <= 0 {
		return nil
	}
	interval := time.Minute / time.Duration(perMinute)
	return &rateLimit{interval: interval, slack: interval * time.Duration(max(burst, 1)-1), due: make(map[uint64]time.Time)}
}

// take counts an event and returns 0, or returns how long the key has to wait.
func (l *rateLimit) take(key uint64, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := l.waitLocked(key, now)
	if wait == 0 {
		l.pruneLocked(now)
		l.due[key] = later(l.due[key], now).Add(l.interval)
	}
	return wait
}

// wait returns how long the key has to wait before its next event, without one.
func (l *rateLimit) wait(key uint64, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waitLocked(key, now)
}

func (l *rateLimit) waitLocked(key uint64, now time.Time) time.Duration {
	return max(0, later(l.due[key], now).Sub(now)-l.slack)
}

// pruneLocked forgets keys whose past no longer matters.
func (l *rateLimit) pruneLocked(now time.Time) {
	full := len(l.due) >= maxBuckets
	if !full && now.Sub(l.pruned) < time.Minute {
		return
	}
	if now.Sub(l.pruned) >= time.Second { // else it was just done: a flood of keys must not pay it each time
		l.pruned = now
		for key, due := range l.due {
			if due.Before(now) {
				delete(l.due, key)
			}
		}
	}
	for key := range l.due { // in no order
		if len(l.due) < maxBuckets {
			break
		}
		delete(l.due, key)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// shares bounds how much goes on at once for each of many callers. It is safe for
// concurrent use. A limit of 0 bounds nothing.
type shares struct {
	limit int

	mu   sync.Mutex
	open map[uint64]int // guarded by mu; only keys for which something goes on
}

func newShares(limit int) *shares { return &shares{limit: limit, open: make(map[uint64]int)} }

// enter reports whether there was room for key; if so, leave must follow.
func (s *shares) enter(key uint64) bool {
	if s.limit == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[key] >= s.limit {
		return false
	}
	s.open[key]++
	return true
}

func (s *shares) leave(key uint64) {
	if s.limit == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[key]--; s.open[key] <= 0 {
		delete(s.open, key)
	}
}

// keySeed makes the keys of limits unpredictable, so that nobody can look for
// names that share one.
var keySeed = maphash.MakeSeed()

// hashKey makes a key of the parts of a name.
func hashKey(parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(keySeed)
	for _, part := range parts {
		_, _ = h.WriteString(part) // never fails
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// clientNetwork returns whom an address such as 192.0.2.1:1234 belongs to: itself,
// and of IPv6, where one customer has billions, its first 64 bits.
func clientNetwork(peer string) string {
	address, err := netip.ParseAddrPort(peer)
	if err != nil {
		return peer
	}
	ip := address.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return ip.String()
}
