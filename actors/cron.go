// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones are the same on every machine

	"github.com/netresearch/go-cron"
)

// cronYears is how far ahead the next time of a cron expression is looked for.
const cronYears = 10

// cronParser reads the five fields of crontab(5) and the names for usual ones.
var cronParser = cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor | cron.DowOrDom).
	WithMaxSearchYears(cronYears)

// cronTimes are the times of a cron expression in a time zone. The library reads
// the expression and knows the calendar; what the zone's clock does is decided here.
//
// A time that the clock jumps over falls due where the jump ends, and once, however
// many times it jumps over. A time that the clock passes twice falls due the first
// time only. An expression whose hour is * is different: it follows the time that
// passes, so that nothing falls due in a jump and every pass counts.
type cronTimes struct {
	fields *cron.SpecSchedule
	zone   *time.Location
	hourly bool // the hour is *
}

// parseCron reads an expression of crontab(5) and the name of an IANA zone; empty is
// UTC.
func parseCron(expression, zone string) (*cronTimes, error) {
	if strings.Contains(expression, "=") {
		return nil, errors.New("the zone has a parameter of its own")
	}
	parsed, err := cronParser.Parse(strings.TrimSpace(expression))
	if err != nil {
		return nil, err
	}
	fields, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("%q is no cron expression: use Every", expression)
	}
	if zone == "Local" {
		return nil, errors.New("the zone Local is another one on each machine")
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return nil, err
	}
	fields.Location = time.UTC
	return &cronTimes{fields: fields, zone: location, hourly: fields.Hour>>63 == 1}, nil
}

// next returns the first time after t; zero if there is none within cronYears.
func (c *cronTimes) next(t time.Time) time.Time {
	if c.hourly {
		return c.nextPassing(t)
	}
	for clock := c.fields.Next(clockOf(t.In(c.zone))); !clock.IsZero(); clock = c.fields.Next(clock) {
		if at := c.first(clock); at.After(t) {
			return at
		}
	}
	return time.Time{}
}

// nextPassing is next for an expression that follows the time that passes: stretch
// by stretch between the jumps of the clock.
func (c *cronTimes) nextPassing(t time.Time) time.Time {
	limit := t.AddDate(cronYears, 0, 0)
	for t.Before(limit) {
		local := t.In(c.zone)
		_, offset := local.Zone()
		_, jump := local.ZoneBounds()
		clock := c.fields.Next(clockOf(local))
		if clock.IsZero() {
			break
		}
		at := clock.Add(-time.Duration(offset) * time.Second)
		if jump.IsZero() || at.Before(jump) {
			return at
		}
		// The second before the jump, as the clock that follows shows it.
		after := jump.In(c.zone)
		if at := c.fields.Next(clockOf(after).Add(-time.Second)); at.Equal(clockOf(after)) {
			return jump
		}
		t = jump
	}
	return time.Time{}
}

// clockOf returns what a clock on the wall shows at t, as a time in UTC.
func clockOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// first returns when the zone's clock first shows a time, or jumps over it.
func (c *cronTimes) first(clock time.Time) time.Time {
	// No zone jumps twice in two days.
	_, before := clock.Add(-24 * time.Hour).In(c.zone).Zone()
	_, after := clock.Add(24 * time.Hour).In(c.zone).Zone()
	early, late := max(before, after), min(before, after)
	for _, offset := range [...]int{early, late} {
		at := clock.Add(-time.Duration(offset) * time.Second)
		if clockOf(at.In(c.zone)).Equal(clock) {
			return at
		}
	}
	start, _ := clock.Add(-time.Duration(late) * time.Second).In(c.zone).ZoneBounds()
	return start
}
