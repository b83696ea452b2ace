// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"testing"
	"time"
)

// paced is a machine whose commits take longer the more runs begin in a second: twice
// as long at knee. It has no clock but now, and so no test depends on the real one.
type paced struct {
	*pace

	now    time.Time
	normal time.Duration // what a commit takes beside no run
	knee   float64
	calls  bool

	starts []time.Time // in the last 10 ms
}

// runs begins runs for a while, every at least, and returns how many began in a second.
func (m *paced) runs(d, every time.Duration) float64 {
	end, n := m.now.Add(d), 0
	for ; m.now.Before(end); n++ {
		if m.calls {
			m.call(m.now)
		}
		if wait := m.reserve(m.now); wait > 0 {
			m.now = m.now.Add(wait)
		}
		m.starts = append(m.starts, m.now)
		for m.starts[0].Before(m.now.Add(-10 * time.Millisecond)) {
			m.starts = m.starts[1:]
		}
		m.committed(time.Duration(float64(m.normal) * (1 + float64(100*len(m.starts))/m.knee)))
		m.now = m.now.Add(every)
	}
	return float64(n) / d.Seconds()
}

const flatOut = 50 * time.Microsecond // 20,000 in a second, all that the machine can do

// TestP32_RunsGiveWayToCalls has more runs due than a machine can do, and changes the
// machine and the calls.
func TestP32_RunsGiveWayToCalls(t *testing.T) {
	t.Parallel()
	within := func(what string, got, least, most float64) {
		t.Helper()
		if got < least || got > most {
			t.Errorf("%s: %.0f runs a second, want %.0f to %.0f", what, got, least, most)
		}
	}
	// A window at paceFloor shows commits of 1.025 times the normal time; 1.15 times
	// that is reached at 3,575 runs a second.
	m := &paced{pace: newPace(), now: time.Unix(1_000_000, 0), normal: 400 * time.Microsecond, knee: 20_000}
	within("no calls", m.runs(5*time.Second, flatOut), 19_000, 20_000)

	m.calls = true
	within("calls come", m.runs(time.Second, flatOut), paceFloor, 2*paceFloor)
	m.runs(10*time.Second, flatOut)
	within("calls", m.runs(20*time.Second, flatOut), 2_500, 3_800)

	m.normal *= 3 // more calls, say
	m.runs(2*paceProbe, flatOut)
	within("other calls", m.runs(20*time.Second, flatOut), 2_500, 3_800)

	m.knee = 100
	m.runs(5*time.Second, flatOut)
	within("a machine that is too small", m.runs(20*time.Second, flatOut), 0.9*paceFloor, 1.5*paceFloor)

	m.knee = 1e9
	m.runs(20*time.Second, flatOut)
	within("a large machine", m.runs(20*time.Second, flatOut), 15_000, 20_000)

	m.knee = 20_000
	m.runs(time.Minute, 100*time.Millisecond)
	m.runs(10*time.Second, flatOut)
	within("after few", m.runs(20*time.Second, flatOut), 2_500, 3_800)

	m.calls = false
	m.runs(paceLinger+time.Second, flatOut)
	within("no calls again", m.runs(5*time.Second, flatOut), 19_000, 20_000)
}

// TestP32_TheRateRisesOnlyWhenItIsUsed has few runs for an hour beside calls, and then many.
func TestP32_TheRateRisesOnlyWhenItIsUsed(t *testing.T) {
	t.Parallel()
	m := &paced{pace: newPace(), now: time.Unix(1_000_000, 0), normal: 400 * time.Microsecond, knee: 20_000, calls: true}
	m.runs(time.Hour, 20*time.Millisecond)
	if n := m.runs(time.Second, flatOut); n > 2*paceFloor {
		t.Errorf("%.0f runs in the first second of a crowd", n)
	}
}

// TestP32_AClockThatIsSetBackEndsWithItsCalls has no calls after the clock was set back:
// what was called later than now is long ago.
func TestP32_AClockThatIsSetBackEndsWithItsCalls(t *testing.T) {
	t.Parallel()
	m := &paced{pace: newPace(), now: time.Unix(1_000_000, 0), normal: 400 * time.Microsecond, knee: 20_000}
	m.call(m.now)
	if m.reserve(m.now); m.idle {
		t.Error("runs begin at once beside a call")
	}
	m.now = m.now.Add(-time.Hour)
	if m.reserve(m.now); !m.idle {
		t.Error("runs wait though there are no calls")
	}
	m.call(m.now)
	if m.reserve(m.now); m.idle {
		t.Error("a call after that is not seen")
	}
}
