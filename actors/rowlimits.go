// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"errors"
	"fmt"
)

// RowLimits is an option that bounds what an actor of a type keeps besides its
// state, and what one turn adds to it. A field that is zero leaves its default.
type RowLimits struct {
	// KVKeyBytes bounds a key of [KV]. Default 1 KiB, at most 1,280 bytes.
	KVKeyBytes int
	// KVValueBytes bounds a value of [KV]. Default 256 KiB, at most 4 MiB.
	KVValueBytes int
	// KVKeysPerTurn is how many keys of [KV] one turn may change. Default 1,000.
	KVKeysPerTurn int
	// MessagesPerTurn is how many messages one turn may send by [Outbox].
	// Default 100.
	MessagesPerTurn int
	// PendingMessages is how many messages of an actor may wait for their
	// delivery. Default 10,000.
	PendingMessages int
	// Schedules is how many schedules an actor may have. Default 1,000.
	Schedules int
	// ScheduleBytes bounds the request of a schedule. Default 64 KiB, at most
	// 1 MiB.
	ScheduleBytes int
	// CommitBytes bounds all that one turn writes, apart from the state.
	// Default 4 MiB, at most 16 MiB.
	CommitBytes int
}

var _ Option = RowLimits{}

func defaultRowLimits() RowLimits {
	return RowLimits{
		KVKeyBytes:      1 << 10,
		KVValueBytes:    256 << 10,
		KVKeysPerTurn:   1000,
		MessagesPerTurn: 100,
		PendingMessages: 10_000,
		Schedules:       1000,
		ScheduleBytes:   64 << 10,
		CommitBytes:     4 << 20,
	}
}

func (r RowLimits) apply(t *actorType) error {
	const unbounded = 1 << 30
	to := &t.limits.rows
	var errs []error
	for _, field := range []struct {
		name      string
		to        *int
		n, atMost int
	}{
		{"KVKeyBytes", &to.KVKeyBytes, r.KVKeyBytes, 1280},
		{"KVValueBytes", &to.KVValueBytes, r.KVValueBytes, 4 << 20},
		{"KVKeysPerTurn", &to.KVKeysPerTurn, r.KVKeysPerTurn, unbounded},
		{"MessagesPerTurn", &to.MessagesPerTurn, r.MessagesPerTurn, unbounded},
		{"PendingMessages", &to.PendingMessages, r.PendingMessages, unbounded},
		{"Schedules", &to.Schedules, r.Schedules, unbounded},
		{"ScheduleBytes", &to.ScheduleBytes, r.ScheduleBytes, 1 << 20},
		{"CommitBytes", &to.CommitBytes, r.CommitBytes, 16 << 20},
	} {
		switch {
		case field.n < 0 || field.n > field.atMost:
			errs = append(errs, fmt.Errorf("RowLimits.%s is %d and must be between 1 and %d, or 0 for the default", field.name, field.n, field.atMost))
		case field.n > 0:
			*field.to = field.n
		}
	}
	return errors.Join(errs...)
}
