// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"bytes"
	"fmt"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/proto"
)

// change is what a turn that went well leaves behind.
type change struct {
	body       *body
	state      []byte // the new snapshot
	dirty      bool   // something must be stored
	eventHead  uint64
	deliveries []delivery
	rows       overlay          // what turns can read
	writes     []store.RowWrite // what only the store reads
	works      []*work          // begin beside the actor
	log        eventLog
	usage      usage
	stored     *store.Record // what a turn that did not wake the actor makes of its record
	mends      *store.Record // the damaged record that it takes the place of
}

// collect makes the change of a turn whose code went well.
func (i *instance) collect(t *turn, b *body) (*change, error) {
	c := &change{body: b, state: b.snapshot, eventHead: i.eventHead, rows: t.rows, log: b.log, usage: b.usage, dirty: t.destroy || len(t.rows) > 0, stored: b.record}
	if t.refused != nil {
		return nil, t.refused
	}
	if limit := i.typ.limits.rows.CommitBytes; t.rowBytes > limit {
		return nil, &refusalError{refusal(connect.CodeResourceExhausted, "commit_too_large", notExecuted,
			"the turn writes %d bytes of rows and events and may write %d", t.rowBytes, limit)}
	}
	if err := t.checkOutbox(); err != nil {
		return nil, err
	}
	if b.state != nil {
		options := proto.MarshalOptions{Deterministic: i.typ.stateMaps}
		size := options.Size(b.state)
		if size > i.typ.limits.stateBytes {
			return nil, &refusalError{refusal(connect.CodeResourceExhausted, "state_too_large", notExecuted,
				"the actor's state would have %d bytes and may have %d", size, i.typ.limits.stateBytes)}
		}
		options.UseCachedSize = true
		state, err := options.MarshalAppend(make([]byte, 0, size), b.state)
		if err != nil {
			return nil, fmt.Errorf("encode the state: %w", err)
		}
		if !bytes.Equal(state, b.snapshot) {
			c.state, c.dirty = state, true
		}
	}
	if len(t.rows) > 0 {
		if err := t.account(b, c); err != nil {
			return nil, err
		}
	}
	if err := i.collectEvents(t, b, c); err != nil {
		return nil, err
	}
	// The turn may go on with another part.
	t.events, t.published, t.rows, t.sizes, t.rowBytes, t.kvKeys, t.sent = nil, 0, nil, nil, 0, 0, nil
	c.works = t.takeWorks()
	return c, nil
}
