// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestP31_DaylightSaving holds the times of expressions over the nights on which the
// clocks of several zones jump.
func TestP31_DaylightSaving(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		expression, zone, after string
		want                    []string
	}{
		"in the gap, at its end": {
			"30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", // 2026-03-29, 2:00 becomes 3:00
			[]string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"},
		},
		"many in the gap, once": {
			"*/10 2 * * *", "Europe/Berlin", "2026-03-28T01:49:00Z",
			[]string{"2026-03-28T02:50:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"},
		},
		"in the gap and at its end, once": {
			"0 2,3 * * *", "America/New_York", "2026-03-08T00:00:00-05:00",
			[]string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:00:00-04:00"},
		},
		"in the hour that comes twice, the first time": {
			"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", // 2026-10-25, 3:00 becomes 2:00
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		},
		"after the first of them, not again": {
			"30 1 * * *", "America/New_York", "2026-11-01T01:10:00-05:00",
			[]string{"2026-11-02T01:30:00-05:00"},
		},
		"every hour passes": {
			"0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00+01:00",
			[]string{"2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"},
		},
		"every hour passes twice": {
			"*/30 * * * *", "Europe/Berlin", "2026-10-25T02:15:00+02:00",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:00:00+01:00"},
		},
		"half an hour": {
			"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", // 2:00 becomes 2:30
			[]string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"},
		},
		"midnight is in the gap": {
			"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00",
			[]string{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"},
		},
		"a day is in the gap": {
			"0 12 * * *", "Pacific/Apia", "2011-12-29T11:00:00-10:00", // no 30 December
			[]string{"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"},
		},
		"no zone is UTC": {
			"@daily", "", "2026-03-28T12:00:00+01:00",
			[]string{"2026-03-29T00:00:00Z"},
		},
		"leap days": {
			"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", // 2100 has none
			[]string{"2104-02-29T00:00:00Z"},
		},
		"either day": {
			"0 0 13 * FRI", "UTC", "2026-11-10T00:00:00Z",
			[]string{"2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z", "2026-12-11T00:00:00Z", "2026-12-13T00:00:00Z"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			times, err := parseCron(test.expression, test.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, test.after)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range test.want {
				want, err := time.Parse(time.RFC3339, text)
				if err != nil {
					t.Fatal(err)
				}
				if at = times.next(at); !at.Equal(want) {
					t.Fatalf("the next time is %s, want %s", at.In(times.zone).Format(time.RFC3339), text)
				}
			}
		})
	}
}

func TestP31_ExpressionsThatNeverComeEnd(t *testing.T) {
	t.Parallel()
	for _, expression := range []string{"0 0 30 2 *", "0 0 31 4,6,9,11 *", "* * 30 2 *"} {
		times, err := parseCron(expression, "Europe/Berlin")
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		if at := times.next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)); !at.IsZero() {
			t.Errorf("%s comes at %s", expression, at)
		}
	}
}

func TestBadCronExpressions(t *testing.T) {
	t.Parallel()
	tests := map[string][2]string{
		"empty":           {"", "UTC"},
		"too few fields":  {"* * * *", "UTC"},
		"with seconds":    {"* * * * * *", "UTC"},
		"minute 60":       {"60 * * * *", "UTC"},
		"day 0":           {"0 0 0 * *", "UTC"},
		"step 0":          {"*/0 * * * *", "UTC"},
		"a zone inside":   {"TZ=UTC 0 0 * * *", "UTC"},
		"an interval":     {"@every 5m", "UTC"},
		"unknown name":    {"@sometimes", "UTC"},
		"unknown zone":    {"0 0 * * *", "Mars/Olympus"},
		"the local zone":  {"0 0 * * *", "Local"},
		"a path as zone":  {"0 0 * * *", "../../etc/passwd"},
		"very long":       {strings.Repeat("1,", 4000) + "1 * * * *", "UTC"},
		"a control field": {"\x00 * * * *", "UTC"},
	}
	for name, test := range tests {
		if _, err := parseCron(test[0], test[1]); err == nil {
			t.Errorf("%s: %q in %q is accepted", name, test[0], test[1])
		}
	}
}

// TestP31_CronAgainstTheClock compares the next times with a clock that is read
// minute by minute.
func TestP31_CronAgainstTheClock(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata"}
	expressions := []string{"* * * * *", "*/15 * * * *", "7 * * * *", "30 2 * * *", "*/20 1,2,3 * * *", "0 0 * * *", "59 23 * * SUN", "0 3 1 * *"}
	rapid.Check(t, func(t *rapid.T) {
		times, err := parseCron(rapid.SampledFrom(expressions).Draw(t, "expression"), rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 365*24*60).Draw(t, "minute")) * time.Minute)
		got := times.next(from)
		// What the clock on the wall shows at each minute; a minute that it has shown
		// before counts for an expression that follows the time that passes only.
		seen := make(map[time.Time]bool)
		matches := func(clock time.Time) bool { return times.fields.Next(clock.Add(-time.Second)).Equal(clock) }
		for at := from.Add(-3 * time.Hour); at.Before(from.AddDate(0, 0, 3)); at = at.Add(time.Minute) {
			clock := clockOf(at.In(times.zone))
			due := matches(clock) && (times.hourly || !seen[clock])
			if !times.hourly { // what was jumped over is due where the jump ends
				for past := clock.Add(-time.Minute); !seen[past] && len(seen) > 0; past = past.Add(-time.Minute) {
					due = due || matches(past)
				}
			}
			seen[clock] = true
			if at.After(from) && due {
				if !got.Equal(at) {
					t.Fatalf("after %s comes %s, want %s", from.In(times.zone), got.In(times.zone), at.In(times.zone))
				}
				return
			}
		}
		if !got.IsZero() && got.Before(from.AddDate(0, 0, 3)) {
			t.Fatalf("after %s comes %s, and the clock never shows it", from.In(times.zone), got.In(times.zone))
		}
	})
}

// FuzzCron looks for expressions that crash, hang or give a time that is not ahead.
func FuzzCron(f *testing.F) {
	for _, expression := range []string{"* * * * *", "0 0 30 2 *", "*/7 1-5 L * MON#2", "@hourly", "TZ=X", "1-59/2 22-2 * JAN-DEC 7", "0 0 29 2 *"} {
		f.Add(expression, "Europe/Berlin", int64(1_790_000_000))
	}
	f.Fuzz(func(t *testing.T, expression, zone string, seconds int64) {
		times, err := parseCron(expression, zone)
		if err != nil {
			return
		}
		from := time.Unix(seconds%(1<<33), 0)
		for range 3 {
			next := times.next(from)
			if next.IsZero() {
				return
			}
			if !next.After(from) || next.Sub(from) > (cronYears+1)*366*24*time.Hour {
				t.Fatalf("%q in %q: after %s comes %s", expression, zone, from, next)
			}
			from = next
		}
	})
}
