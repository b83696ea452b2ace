// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"errors"
	"fmt"
	"time"

	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// eventLimits bounds the events of one actor.
type eventLimits struct {
	events       eventWindow
	eventBytes   int // of one event, encoded
	turnEvents   int // of one turn
	bufferEvents int // that wait for one subscriber
	bufferBytes  int
}

func defaultEventLimits() eventLimits {
	return eventLimits{
		events:       eventWindow{count: 1000, bytes: 1 << 20, age: time.Hour},
		eventBytes:   256 << 10,
		turnEvents:   1000,
		bufferEvents: 256,
		bufferBytes:  1 << 20,
	}
}

// EventWindow says which of an actor's durable events a subscriber that resumes can
// still get: those within every bound. A bound that is zero is the schema's, or the
// default.
type EventWindow struct {
	// Count is how many events. Default 1,000.
	Count int
	// Bytes is the encoded events together. Default 1 MiB.
	Bytes int
	// Age is how long ago an event was published. Default 1 h.
	Age time.Duration
}

// RetainEvents sets the replay window of the actor's durable events, whatever the
// schema says. What leaves the window is deleted from the store by and by.
func RetainEvents(w EventWindow) Option {
	return optionFunc(func(t *actorType) error {
		t.limits.events.none = false
		return t.limits.events.narrow(w)
	})
}

// NoEventLog keeps no log: durable events still take numbers, and a subscriber
// that has missed one is refused when it resumes, with out_of_range.
func NoEventLog() Option {
	return optionFunc(func(t *actorType) error {
		t.limits.events.none = true
		return nil
	})
}

// MaxEventBytes bounds an encoded event. Default 256 KiB, at most 1 MiB. A turn
// that publishes a larger one fails with resource_exhausted.
func MaxEventBytes(n int) Option {
	return optionFunc(func(t *actorType) error {
		if n <= 0 || n > 1<<20 {
			return fmt.Errorf("MaxEventBytes(%d) must be positive and at most 1 MiB", n)
		}
		t.limits.eventBytes = n
		return nil
	})
}

// MaxTurnEvents bounds the events that one turn publishes, of every kind. Default
// 1,000. A turn that publishes more fails with resource_exhausted.
func MaxTurnEvents(n int) Option {
	return positive("MaxTurnEvents", n, func(l *limits) { l.turnEvents = n })
}

// SubscriberBuffer bounds what waits for one subscriber that does not read fast
// enough: events, and their bytes. Default 256 and 1 MiB. One that is behind and
// would exceed a bound is cut with resource_exhausted, and may resume. What one
// turn sends to a subscriber for whom nothing waited never cuts it.
func SubscriberBuffer(events, bytes int) Option {
	return optionFunc(func(t *actorType) error {
		if events <= 0 || bytes <= 0 {
			return fmt.Errorf("SubscriberBuffer(%d, %d) must be positive", events, bytes)
		}
		t.limits.bufferEvents, t.limits.bufferBytes = events, bytes
		return nil
	})
}

// narrow sets the bounds that w gives.
func (w *eventWindow) narrow(to EventWindow) error {
	if to.Count < 0 || to.Bytes < 0 || to.Age < 0 {
		return fmt.Errorf("an event window of %d events, %d bytes and %s: none of them may be negative", to.Count, to.Bytes, to.Age)
	}
	if to.Count > 0 {
		w.count = to.Count
	}
	if to.Bytes > 0 {
		w.bytes = to.Bytes
	}
	if to.Age > 0 {
		w.age = to.Age
	}
	return nil
}

// declare sets what the schema says.
func (w *eventWindow) declare(options *troupev1.EventLogOptions) error {
	if options.GetNoLog() {
		if options.GetRetain() > 0 || options.GetMaxBytes() > 0 || options.GetMaxAge() != nil {
			return errors.New("option (troupe.v1.actor).events has no_log and a bound: remove one")
		}
		w.none = true
		return nil
	}
	if age := options.GetMaxAge(); age != nil && (age.CheckValid() != nil || age.AsDuration() <= 0) {
		return fmt.Errorf("option (troupe.v1.actor).events.max_age is %s and must be positive", age)
	}
	return w.narrow(EventWindow{
		Count: int(options.GetRetain()),
		Bytes: int(options.GetMaxBytes()),
		Age:   options.GetMaxAge().AsDuration(),
	})
}
