// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"time"

	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
)

const (
	// maxCatchUp is how many runs make up for times that passed without one.
	maxCatchUp = 100
	// maxCounted is up to where such times are counted.
	maxCounted = 1_000_000
)

// recurrence is the times of a recurring schedule.
type recurrence interface {
	// next returns the first time after t; zero if there is none.
	next(t time.Time) time.Time
}

// interval is times that are equally far apart, counted from one of them.
type interval struct {
	from  time.Time
	every time.Duration
}

func (i interval) next(t time.Time) time.Time {
	if t.Before(i.from) {
		return i.from
	}
	return t.Add(i.every - t.Sub(i.from)%i.every)
}

// recurrenceOf returns the times of a schedule; nil if it does not recur.
func recurrenceOf(s *storagev1.Schedule) (recurrence, error) {
	if cron := s.GetCron(); cron != nil {
		times, err := parseCron(cron.GetExpression(), cron.GetZone())
		if err != nil {
			return nil, err
		}
		return times, nil
	}
	if every := micros(s.GetEvery()); every > 0 {
		return interval{from: time.UnixMicro(s.GetDue()), every: every}, nil
	}
	return nil, nil //nolint:nilnil // it does not recur
}

// passed are the times of a schedule that have come, from the one that it is due
// for on.
type passed struct {
	count  int         // without the first one
	newest []time.Time // the last ones in order, maxCatchUp at most
	next   time.Time   // the first one that has not come; zero if there is none
}

// passedBy returns what has come by now.
func passedBy(times recurrence, due, now time.Time) passed {
	p := passed{newest: []time.Time{due}}
	if i, ok := times.(interval); ok {
		// Far apart or not, these need no counting.
		last := max(0, int(now.Sub(due)/i.every)) // the clock may have gone back since it was due
		p.newest = p.newest[:0]
		for n := max(0, last+1-maxCatchUp); n <= last; n++ {
			p.newest = append(p.newest, due.Add(time.Duration(n)*i.every))
		}
		p.count, p.next = min(last, maxCounted), due.Add(time.Duration(last+1)*i.every)
		return p
	}
	for p.next = times.next(due); !p.next.IsZero() && !p.next.After(now); p.next = times.next(p.next) {
		if p.count++; p.count >= maxCounted {
			p.next = times.next(now)
			break
		}
		p.newest = append(p.newest, p.next)
		if len(p.newest) >= 2*maxCatchUp {
			p.newest = append(p.newest[:0], p.newest[len(p.newest)-maxCatchUp:]...)
		}
	}
	if extra := len(p.newest) - maxCatchUp; extra > 0 {
		p.newest = p.newest[extra:]
	}
	return p
}
