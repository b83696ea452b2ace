// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
)

// TestP25_MessagesOutliveTheirProcess cuts the host off from its store while messages
// are on their way.
func TestP25_MessagesOutliveTheirProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := memory.New(memory.Options{})
		plug := &severed{Store: disk}
		k := newKit(t, plug)
		k.mustAdd("b", 1)
		k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error {
			if c.Key()[0] == "a" {
				return errors.Join(c.post("b", 10), c.post("a2", 5))
			}
			<-ctx.Done() // nothing is taken in this process
			return ctx.Err()
		}
		k.mustAdd("a", 1)
		synctest.Wait()
		plug.sever()
		next := newKit(t, disk, actors.SleepAfter(time.Second))
		synctest.Wait()
		next.mustCount("b", 11)
		next.mustCount("a2", 5)
		pass(time.Minute)
		if rows := next.outbox("a"); len(rows) != 1 {
			t.Errorf("the outbox keeps %q", rows)
		}
	})
}

// TestP25_MessagesOutliveTheirStore closes the store on disk while messages are on their
// way, and opens it again.
func TestP25_MessagesOutliveTheirStore(t *testing.T) {
	t.Parallel()
	dir, receivers := t.TempDir(), []string{"b", "c", "d"}
	first := func() {
		disk, err := embedded.Open(dir, embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = disk.Close() }()
		k := newKit(t, disk)
		defer k.stop() // before the store is closed
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			var errs []error
			for n := range req.GetAmount() {
				if c.Key()[0] == "a" {
					errs = append(errs, c.post(receivers[n%3], 10))
				}
			}
			return errors.Join(errs...)
		}
		for range 4 {
			k.mustAdd("a", 99)
		}
	}
	first()
	disk, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = disk.Close() })
	k := newKit(t, disk)
	for _, key := range receivers {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		stream, err := k.outside(key).Subscribe(ctx, new(counterv1.SubscribeRequest))
		if err != nil {
			t.Fatal(err)
		}
		for {
			reply, err := k.outside(key).Get(ctx, new(counterv1.GetRequest))
			if err != nil || reply.GetCount() > 1320 {
				t.Fatalf("%s has %v, %v", key, reply, err)
			}
			if reply.GetCount() == 1320 {
				break
			}
			if _, err := stream.Receive(); err != nil {
				t.Fatalf("%s has %d, and then %v", key, reply.GetCount(), err)
			}
		}
		_ = stream.Close()
	}
}

// TestP25_ACourierLeavesItsTurnBehind stops a host whose courier waits for a turn that
// reads the outbox: what the turn finds out later concerns nobody, which the race
// detector sees.
func TestP25_ACourierLeavesItsTurnBehind(t *testing.T) {
	t.Parallel()
	disk := memory.New(memory.Options{})
	plug := &severed{Store: disk}
	k, hold := newKit(t, plug), make(chan struct{})
	defer close(hold)
	k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error {
		if c.Key()[0] == "a" {
			return c.post("b", 10)
		}
		<-hold // nothing is taken in this process
		return nil
	}
	k.mustAdd("a", 1)
	plug.sever()
	slow := &stuckScan{Store: disk, entered: make(chan struct{}), release: make(chan struct{})}
	next := newKit(t, slow)
	<-slow.entered // the message of another process is being claimed
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		next.stop()
	}()
	<-time.After(20 * time.Millisecond) // it orders nothing, as a signal would
	close(slow.release)
	<-stopped
}

// stuckScan is a store that stops where the first message of an outbox is read to be claimed.
type stuckScan struct {
	store.Store

	scans            atomic.Int32
	entered, release chan struct{}
}

func (s *stuckScan) Scan(ctx context.Context, id store.ID, kind store.Kind, r store.Range) ([]store.Row, error) {
	if kind == store.KindOutbox && r.Limit == 1 && s.scans.Add(1) == 2 { // the first one finds the message due
		close(s.entered)
		<-s.release
		ctx = context.WithoutCancel(ctx)
	}
	return s.Store.Scan(ctx, id, kind, r)
}

// severed is a store that a process can be cut off from.
type severed struct {
	store.Store

	mu  sync.Mutex
	off bool
}

func (s *severed) sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off = true
}

func (s *severed) Commit(ctx context.Context, batch []*store.Write) store.Pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.off {
		return s.Store.Commit(ctx, batch)
	}
	for _, w := range batch {
		w.Err = errors.New("the store is gone")
	}
	return nothing{}
}

type nothing struct{}
