// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"testing"
	"time"
)

// TestP31_AClockThatIsSetBackRepeatsNoTime asks what has passed of a time that has not
// come any more: the run that it is for has begun, and the next one is after it.
func TestP31_AClockThatIsSetBackRepeatsNoTime(t *testing.T) {
	t.Parallel()
	due := time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)
	cron, err := parseCron("* * * * *", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	for name, times := range map[string]recurrence{"every": interval{from: due, every: time.Minute}, "cron": cron} {
		p := passedBy(times, due, due.Add(-time.Hour))
		if p.count != 0 || len(p.newest) != 1 || !p.newest[0].Equal(due) || !p.next.Equal(due.Add(time.Minute)) {
			t.Errorf("%s: %d times have passed, %v, and the next one is %v", name, p.count, p.newest, p.next)
		}
	}
}

// TestP31_MissedTimesAreCountedUpToABound holds the bound that [ScheduleRun] tells of.
func TestP31_MissedTimesAreCountedUpToABound(t *testing.T) {
	t.Parallel()
	due := time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)
	now := due.AddDate(1, 0, 0)
	p := passedBy(interval{from: due, every: time.Second}, due, now)
	if p.count != maxCounted || len(p.newest) != maxCatchUp || !p.newest[maxCatchUp-1].Equal(now) || !p.next.Equal(now.Add(time.Second)) {
		t.Errorf("%d times have passed, the newest is %v, and the next one is %v", p.count, p.newest[len(p.newest)-1], p.next)
	}
}
