// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// What follows is for those who run the server. None of it wakes an actor, so that
// it serves one that cannot wake.

// kinds are all kinds of rows, in order.
var kinds = []store.Kind{store.KindKV, store.KindSchedule, store.KindEvent, store.KindOutbox, store.KindIdempotency}

// RowPlace is a place among all the rows of an actor.
type RowPlace struct {
	Kind store.Kind
	Key  []byte
}

// StoredRow is one row of an actor.
type StoredRow struct {
	Kind store.Kind
	store.Row
}

// Export returns what is stored of an actor: its record, and its rows that come
// after a place (nil is the beginning), in order of kind and key, until there are
// limit of them or maxBytes of keys and values, at least one. Next is the place to
// go on from, nil after the last row. The pages of an actor are no snapshot; the
// record's revision says whether it changed in between.
func (h *Host) Export(ctx context.Context, target Target, after *RowPlace, limit, maxBytes int) (d Description, rows []StoredRow, next *RowPlace, err error) {
	m, err := h.lifecycleMethod(ctx, target)
	if err != nil {
		return Description{}, nil, nil, err
	}
	if err := h.enter(); err != nil {
		return Description{}, nil, nil, err
	}
	defer h.leave()
	if d, err = h.describe(ctx, target); err == nil {
		err = h.committer.durably(ctx, func() (err error) {
			rows, next, err = h.rows(ctx, d.ID, after, limit, maxBytes)
			return err
		})
	}
	if err != nil {
		return Description{}, nil, nil, wireError(ctx, h.log, m, adminError(err))
	}
	return d, rows, next, nil
}

func (h *Host) rows(ctx context.Context, id store.ID, after *RowPlace, limit, maxBytes int) (rows []StoredRow, next *RowPlace, err error) {
	size := 0
	for _, kind := range kinds {
		var from []byte
		if after != nil {
			if kind < after.Kind {
				continue
			}
			if kind == after.Kind {
				from = append(bytes.Clone(after.Key), 0)
			}
		}
		for {
			found, err := h.store.Scan(ctx, id, kind, store.Range{From: from, Limit: exportStep})
			if err != nil {
				return nil, nil, fmt.Errorf("read the actor's rows: %w", err)
			}
			for _, row := range found {
				if size += len(row.Key) + len(row.Value); len(rows) > 0 && (len(rows) >= limit || size > maxBytes) {
					last := rows[len(rows)-1]
					return rows, &RowPlace{last.Kind, last.Key}, nil
				}
				rows = append(rows, StoredRow{kind, row})
			}
			if len(found) < exportStep {
				break
			}
			from = append(bytes.Clone(found[len(found)-1].Key), 0)
		}
	}
	return rows, nil, nil
}

// exportStep is how many rows are read at once: 4 MiB of the largest values.
const exportStep = 16

// Repair replaces an actor's state by what set makes of an empty one, if the actor
// has the given revision (aborted otherwise), and ends its quarantine. An actor in
// memory is dropped, without its sleep hook, and reads the new state when it wakes.
// Its rows stay.
//
// It also puts a sound record in the place of one that is damaged, of the same
// incarnation if that is known. Its revision and the number of its newest event are
// then such that the actor has never had before, its events count as trimmed and its
// streams end: cursors of the past are refused with out_of_range.
func (h *Host) Repair(ctx context.Context, target Target, revision uint64, set func(state proto.Message) error) (Description, error) {
	return h.administer(ctx, target, func(m *Method) error {
		_, err := h.submitStored(ctx, m, target, false, func(record *store.Record) error {
			typ := h.types[record.Type]
			switch {
			case typ == nil || typ.stateType == nil && !record.Damaged:
				return &refusalError{refusal(connect.CodeFailedPrecondition, "no_state", notExecuted, "%s has no state", record.Type)}
			case record.Revision != revision:
				return &refusalError{refusal(connect.CodeAborted, "revision_mismatch", notExecuted,
					"the actor has revision %d, not %d: read it again", record.Revision, revision)}
			}
			state := proto.Message(new(emptypb.Empty)) // of a damaged actor without a state
			if typ.stateType != nil {
				state = newMessage(typ.stateType)
			}
			if err := set(state); err != nil {
				return &refusalError{refusal(connect.CodeInvalidArgument, "bad_actor_state", notExecuted,
					"the state is not a %s: %s", state.ProtoReflect().Descriptor().FullName(), err)}
			}
			encoded, err := proto.Marshal(state)
			if err != nil {
				return fmt.Errorf("encode the state: %w", err)
			}
			if len(encoded) > typ.limits.stateBytes {
				return &refusalError{refusal(connect.CodeResourceExhausted, "state_too_large", notExecuted,
					"the actor's state would have %d bytes and may have %d", len(encoded), typ.limits.stateBytes)}
			}
			record.State, record.StateVersion, record.Quarantined, record.Damaged = encoded, typ.stateVersion, false, false
			return nil
		})
		return err
	})
}

// Quarantine keeps an actor from running until it is lifted or repaired: its calls
// are refused with failed_precondition. An actor in memory is dropped, without its
// sleep hook, and its streams end. It outlives the process.
func (h *Host) Quarantine(ctx context.Context, target Target) (Description, error) {
	return h.administer(ctx, target, func(m *Method) error {
		_, err := h.submitStored(ctx, m, target, false, func(record *store.Record) error {
			record.Quarantined = true
			return nil
		})
		return err
	})
}

// Lift ends an actor's quarantine or back-off, so that the next call tries to wake
// it.
func (h *Host) Lift(ctx context.Context, target Target) (Description, error) {
	return h.administer(ctx, target, func(m *Method) error {
		record, err := h.load(ctx, target)
		switch {
		case err == nil && record.Quarantined:
			_, err = h.submitStored(ctx, m, target, false, func(record *store.Record) error {
				record.Quarantined = false
				return nil
			})
		case err == nil, record.Damaged:
			h.crashes.forget(record.Address)
			h.lifted(record.Address)
			err = nil
		}
		return err
	})
}

// administer does something about an actor and describes it then.
func (h *Host) administer(ctx context.Context, target Target, do func(m *Method) error) (Description, error) {
	m, err := h.lifecycleMethod(ctx, target)
	if err != nil {
		return Description{}, err
	}
	if err := h.enter(); err != nil {
		return Description{}, err
	}
	defer h.leave()
	var d Description
	if err = do(m); err == nil {
		d, err = h.describe(ctx, target)
	}
	if err != nil {
		return Description{}, wireError(ctx, h.log, m, adminError(err))
	}
	return d, nil
}

// adminError makes a refusal of what a store says of an actor.
func adminError(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return notFound()
	case errors.Is(err, store.ErrCorrupt):
		return dataLoss()
	}
	return err
}

// Compact has the store forget the bytes of everything that was destroyed, deleted
// or replaced before: see [store.Compacter]. Unimplemented if the store cannot.
func (h *Host) Compact(ctx context.Context) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	compacter, ok := h.store.(store.Compacter)
	if !ok {
		return refusal(connect.CodeUnimplemented, "unimplemented", notExecuted, "this server's store does not compact")
	}
	if err := compacter.Compact(ctx); err != nil {
		return wireError(ctx, h.log, h.methods[0], fmt.Errorf("compact the store: %w", err))
	}
	return nil
}
