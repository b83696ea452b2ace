// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
)

// TestAHandoverWaitsForWhatBeginsMeanwhile has a stream of an actor that is asleep end
// while another actor of the shard is busy. The hook's commit takes longer than that.
func TestAHandoverWaitsForWhatBeginsMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inTurn, end := make(chan struct{}), make(chan struct{})
		var faulty *storetest.Faulty
		f := newFleet(t, 2, func(k *kit) {
			k.get = func(_ context.Context, c *counter) error {
				if c.State().GetCount() == 7 {
					close(inTurn)
					<-end
				}
				return nil
			}
			if faulty == nil { // of the first host
				faulty = storetest.NewFaulty(k.store)
				k.store = faulty
			}
		}, actors.OnDisconnect(func(c *counter, ctx context.Context, _ *actors.Conn) error {
			_, err := c.Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
			return err
		}))
		key := f.keyOf(0, 0)
		busy := f.neighborOf(key)
		f.kits[0].mustAdd(busy, 7)
		gate := make(chan struct{}, 1)
		watcher := f.kits[0].subscribe(key, func(_ *actors.Call, r *recorder) { r.gate = gate })
		gate <- struct{}{}
		await(t, "opened frame", watcher.opened)
		read := make(chan error, 1)
		go func() { _, err := f.kits[0].count(t.Context(), busy); read <- err }()
		<-inTurn

		moved := make(chan error, 1)
		go func() { moved <- f.Move(t.Context(), f.shardOf(key), f.nodes[1]) }()
		pass(400 * time.Millisecond) // the stream has not ended in time, and its actor sleeps
		hold := faulty.HoldWaits()
		gate <- struct{}{}
		await(t, "end of the stream", watcher.closed)
		synctest.Wait()
		close(end)
		if err := await(t, "answer of the read", read); err != nil {
			t.Error(err)
		}
		pass(time.Second)
		if len(moved) > 0 {
			t.Error("the shard was handed over while a commit was on its way")
		}
		hold.Release()
		if err := await(t, "end of the move", moved); err != nil {
			t.Fatal(err)
		}
		f.kits[1].mustCount(key, 1)
	})
}
