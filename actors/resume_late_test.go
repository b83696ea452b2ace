// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
)

// lateStore looks for one event of a log once before the commit that has it has ended,
// and answers after that.
type lateStore struct {
	store.Store

	event  []byte // the key of its row
	looked atomic.Bool
}

func (s *lateStore) Scan(ctx context.Context, id store.ID, kind store.Kind, r store.Range) ([]store.Row, error) {
	if kind == store.KindEvent && r.Limit == 1 && bytes.Equal(r.From, s.event) && !s.looked.Swap(true) {
		return nil, nil
	}
	return s.Store.Scan(ctx, id, kind, r)
}

// TestP34_ResumeWhileTheCommitEnds resumes before an event whose commit ends while the
// subscription looks for it: nothing is missing, and so it is not refused.
func TestP34_ResumeWhileTheCommitEnds(t *testing.T) {
	t.Parallel()
	s := &lateStore{Store: memory.New(memory.Options{}), event: []byte{0, 0, 0, 0, 0, 0, 0, 3}}
	k := newKit(t, s)
	k.mustAdd("a", 1)
	k.mustAdd("a", 1)
	cursor := k.cursor("a")
	k.mustAdd("a", 1)
	sub := k.resume("a", cursor)
	select {
	case <-sub.opened:
	case err := <-sub.ended:
		t.Fatalf("the subscription is refused: %v", err)
	}
	wantCounts(t, sub, 3, 3)
	if !s.looked.Load() {
		t.Error("the event was not looked for: the test has tested nothing")
	}
}
