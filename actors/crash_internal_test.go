// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// unreadable is a store from which no actor can be read.
type unreadable struct{ store.Store }

var errUnreadable = errors.New("unreadable")

func (unreadable) Load(context.Context, store.Address) (store.Record, error) {
	return store.Record{}, errUnreadable
}

func (unreadable) LoadID(context.Context, store.ID) (store.Record, error) {
	return store.Record{}, errUnreadable
}

// TestP44_ABackOffThatEndsIsOverAsAWhole looks at actors without a pause while their
// back-off ends: none is neither refused nor in memory, and no row of theirs is taken
// for settled.
func TestP44_ABackOffThatEndsIsOverAsAWhole(t *testing.T) {
	t.Parallel()
	h := &Host{
		store: unreadable{}, log: slog.New(slog.DiscardHandler), crashes: newCrashes(), wakes: make(gate, 1),
		pressure: new(pressure), table: newTable(), lastTries: newLastTries(),
	}
	typ := &actorType{name: "t", methods: []*Method{{}}}
	h.types = map[string]*actorType{"t": typ}
	addr := store.Address{Namespace: "default", Type: "t", Key: "a"}
	i := &instance{host: h, typ: typ, addr: addr}
	ends := func(what string, look func() error) {
		for range 2000 {
			h.crashes.update(addr, errors.New("no"), func(c *crash) { c.until = time.Now().Add(20 * time.Microsecond) })
			for {
				err := look()
				if err == nil {
					t.Fatalf("%s: neither refused nor tried", what)
				}
				if !cannotWake(err) {
					break // it was tried
				}
			}
		}
	}
	ends("a call", func() error { return i.prepare(&turn{parent: t.Context(), inst: i}) })
	row := store.DueRow{ID: store.NewID(0)}
	ends("a schedule", func() error { return h.runSchedule(t.Context(), addr, row) })
}
