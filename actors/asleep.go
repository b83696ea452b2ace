// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"errors"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// A turn of the runtime that touches rows only need not wake the actor: what counts
// an attempt must not run the author's code, which may be what ends the process.

// prepareAsleep has a turn run on what is stored of an actor that is not in memory, and
// may be run.
func (i *instance) prepareAsleep(t *turn) error {
	record, err := i.load(t)
	if errors.Is(err, store.ErrNotFound) {
		return i.prepareAbsent(t)
	} else if err != nil {
		return err
	}
	if err := i.unfit(record); err != nil {
		return err
	}
	i.adopt(record)
	t.body = &body{inst: i, snapshot: record.State, record: &record}
	return nil
}

// unfit refuses an actor that is not to be run.
func (i *instance) unfit(record store.Record) error {
	if record.StateVersion > i.typ.stateVersion {
		return stateTooNew(record.StateVersion, i.typ.stateVersion)
	}
	if record.Quarantined {
		return (&crash{unusable: reasonQuarantined}).refusal(time.Time{})
	}
	return nil
}
