// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
	"github.com/troupe-dev/troupe/test/history"
)

// TestP11_AFailoverLosesNothing kills the primary under load and promotes its synchronous
// standby. The nodes, whose URL names both and asks for the one that
// takes writes, find it by themselves, and nothing that was
// acknowledged is lost, in doubt or done twice. It prints how long nobody could write.
func TestP11_AFailoverLosesNothing(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t)
	direct := primary.Database(t)
	standby := primary.Standby(t, "second")
	primary.Exec(t, "postgres", `ALTER SYSTEM SET synchronous_standby_names = 'second'`)
	primary.Exec(t, "postgres", `SELECT pg_reload_conf()`)
	s := newSiteOver(t, direct+"&target_session_attrs=read-write", nil, primary, standby)
	s.eventually(time.Minute, "the standby is synchronous", func() bool {
		return s.number(`SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'`) == 1
	})
	h := newPlay(s, historySeed(t))
	defer h.end()
	written := func() bool { return len(acknowledged(h.record)) > 0 }
	s.eventually(time.Minute, "a write is acknowledged", written)
	s.pause(3 * time.Second)

	killed := h.record.Now()
	primary.Kill()
	s.server = standby
	standby.Promote(t)
	promoted := h.record.Now()
	s.eventually(time.Minute, "a write is acknowledged by the new primary", func() bool {
		return slices.ContainsFunc(acknowledged(h.record), func(at time.Duration) bool { return at > promoted })
	})
	s.pause(3 * time.Second)
	s.alive()
	h.finish()
	last, first := around(acknowledged(h.record), killed, promoted)
	t.Logf("P11: no write for %s: promoted %s after the kill, the first write %s after that", (first - last).Round(time.Millisecond),
		(promoted - killed).Round(time.Millisecond), (first - promoted).Round(time.Millisecond))
}

// acknowledged returns when writes were acknowledged, in order.
func acknowledged(record *history.Recorder) []time.Duration {
	var times []time.Duration
	for _, operations := range record.Operations() {
		for _, o := range operations {
			if o.Outcome == history.Done && o.Kind != history.Read {
				times = append(times, o.Return)
			}
		}
	}
	slices.Sort(times)
	return times
}

// around returns the last of some times before a moment and the first after another.
func around(times []time.Duration, from, to time.Duration) (last, first time.Duration) {
	for _, at := range times {
		if at <= from {
			last = at
		}
		if at > to && first == 0 {
			first = at
		}
	}
	return last, first
}
