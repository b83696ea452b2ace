// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stress is what its callers know, to be compared with what is stored.
type stress struct {
	*kit

	faulty *storetest.Faulty
	until  context.Context // ends with the test

	mu      sync.Mutex
	acked   map[string]int64            // guarded by mu; by key
	unknown map[string]int64            // guarded by mu; by key
	counts  map[store.ID]map[int64]bool // guarded by mu; acknowledged, of each incarnation
	streams atomic.Int64
}

// TestStress mixes everything that can happen to an actor and stops in the middle
// of it.
func TestStress(t *testing.T) {
	t.Parallel()
	inner := memory.New(memory.Options{})
	s := &stress{
		faulty: storetest.NewFaulty(inner),
		acked:  make(map[string]int64), unknown: make(map[string]int64), counts: make(map[store.ID]map[int64]bool),
	}
	s.kit = newKit(t, s.faulty, actors.SleepAfter(time.Millisecond), actors.ActionTimeout(time.Second),
		actors.OnSleep(func(*counter, context.Context) error { return nil }),
		actors.OnDisconnect(func(*counter, context.Context, *actors.Conn) error { return nil }))
	var cancel context.CancelFunc
	s.until, cancel = context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	kept, passing := []string{"a", "b", "c"}, []string{"x", "y"}
	all := append(passing, kept...)
	var workers sync.WaitGroup
	for range 12 {
		workers.Go(func() { s.write(all) })
	}
	for range 4 {
		workers.Go(func() { s.read(all) })
		workers.Go(func() { s.follow(all) })
	}
	workers.Go(func() { s.destroy(passing) })
	workers.Go(s.fault)
	<-s.until.Done()
	s.stop()
	workers.Wait()

	if s.streams.Load() == 0 || len(s.counts) <= len(kept)+len(passing) {
		t.Errorf("%d streams and %d incarnations: nothing has been tried", s.streams.Load(), len(s.counts))
	}
	after := newKit(t, inner)
	for _, key := range kept {
		got, err := after.count(t.Context(), key)
		if err != nil || got < s.acked[key] || got > s.acked[key]+s.unknown[key] {
			t.Errorf("the count of %q is %d, %v; acknowledged are %d, unknown %d", key, got, err, s.acked[key], s.unknown[key])
		}
	}
}

// loop calls f with one of the keys, and a context that ends early now and then,
// until the host has stopped.
func (s *stress) loop(keys []string, f func(ctx context.Context, key string)) {
	for s.until.Err() == nil {
		ctx, cancel := context.WithCancel(context.Background())
		switch rand.IntN(10) {
		case 0:
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(2000))*time.Microsecond)
		case 1:
			timer := time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, cancel)
			defer timer.Stop()
		}
		f(ctx, keys[rand.IntN(len(keys))])
		cancel()
	}
}

// lent lets every other call lend its goroutine to its turn.
func lent(call *actors.Call) *actors.Call {
	if rand.IntN(2) == 0 {
		call.Detach = func(*connect.Error) {}
	}
	return call
}

func (s *stress) write(keys []string) {
	s.loop(keys, func(ctx context.Context, key string) {
		if rand.IntN(20) == 0 {
			_ = s.fail(ctx, key, 1000, rand.IntN(2) == 0)
			return
		}
		reply, err := s.Call(ctx, lent(s.to(counterv1connect.CounterIncrementProcedure, key, &counterv1.IncrementRequest{Amount: 1})))
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			if failureOf(s.tb, err).outcome != notExecuted {
				s.unknown[key]++
			}
			return
		}
		s.acked[key]++
		counts := s.counts[reply.ID]
		if counts == nil {
			counts = make(map[int64]bool)
			s.counts[reply.ID] = counts
		}
		count := decode(s.tb, reply, nil, new(counterv1.IncrementResponse)).GetCount()
		if counts[count] {
			s.tb.Errorf("two increments of %q were acknowledged with %d", key, count)
		}
		counts[count] = true
	})
}

// read holds that what was once read of an incarnation is never undone.
func (s *stress) read(keys []string) {
	seen := make(map[store.ID]int64)
	s.loop(keys, func(ctx context.Context, key string) {
		reply, err := s.Call(ctx, lent(s.to(counterv1connect.CounterGetProcedure, key, new(counterv1.GetRequest))))
		if err != nil {
			return
		}
		count := decode(s.tb, reply, nil, new(counterv1.GetResponse)).GetCount()
		if count < seen[reply.ID] {
			s.tb.Errorf("the count of %q was %d and is %d", key, seen[reply.ID], count)
		}
		seen[reply.ID] = count
	})
}

// follow subscribes again and again, mostly where the last stream ended.
func (s *stress) follow(keys []string) {
	seen := make(map[string]*contiguous)
	s.loop(keys, func(ctx context.Context, key string) {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(100))*time.Millisecond)
		defer cancel()
		call := s.to(counterv1connect.CounterSubscribeProcedure, key, new(counterv1.SubscribeRequest))
		sink := &contiguous{stress: s}
		if last := seen[key]; last != nil && rand.IntN(4) > 0 {
			call.Resume, sink.head = last.cursor, last.head
		}
		sink.resumed = call.Resume
		err := s.kit.follow(ctx, call, sink)
		if sink.cursor != "" {
			seen[key] = sink
		} else if connect.CodeOf(err) == connect.CodeOutOfRange {
			delete(seen, key)
		}
	})
}

// contiguous is a sink that holds that no event is missing.
type contiguous struct {
	*stress

	resumed string // the cursor that the stream goes on from
	opened  bool
	head    uint64
	cursor  string
}

func (c *contiguous) Send(frame *actors.Frame, _ bool) error {
	encoded, err := frame.Encoded(binary{})
	if err != nil {
		return err
	}
	event := new(counterv1.CounterEvent)
	if err := proto.Unmarshal(encoded, event); err != nil {
		return err
	}
	head := event.GetInfo().GetHead()
	c.cursor = event.GetInfo().GetCursor()
	switch {
	case !c.opened:
		if event.GetInfo().GetOpened() == nil || c.resumed != "" && c.cursor != c.resumed {
			c.tb.Errorf("a stream after %q began with %v", c.resumed, event)
		}
		if c.opened = true; c.resumed != "" {
			return nil // the head is beyond what is replayed
		}
	case event.GetCountChanged() != nil:
		c.streams.Add(1)
		if count := event.GetCountChanged().GetCount(); count != int64(head) {
			c.tb.Errorf("event %d has the count %d", head, count)
		}
		if head != c.head+1 {
			c.tb.Errorf("event %d came after event %d", head, c.head)
		}
	case head != c.head:
		c.tb.Errorf("the head is %d after event %d: %v", head, c.head, event)
	}
	c.head = head
	return nil
}

func (s *stress) destroy(keys []string) {
	s.loop(keys, func(ctx context.Context, key string) {
		target := s.to(counterv1connect.CounterGetProcedure, key, nil).Target
		switch rand.IntN(3) {
		case 0:
			_, _, _ = s.Ensure(ctx, target, nil)
		case 1:
			_, _ = s.List(ctx, store.ListQuery{Namespace: "default", Limit: 10})
		}
		_, _ = s.Destroy(ctx, target)
	})
}

func (s *stress) fault() {
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for {
		select {
		case <-s.until.Done():
			return
		case <-ticks.C:
		}
		switch rand.IntN(8) {
		case 0:
			s.faulty.FailCommit(store.ErrConflict)
		case 1:
			s.faulty.FailCommit(store.ErrUnknown)
		case 2:
			s.faulty.FailCommitAfter(store.ErrUnknown)
		case 3:
			s.faulty.FailRead(errors.New("a read that fails"))
		}
	}
}

// TestEveryConnectionThatOpensDisconnects has subscribers come and go, some before
// they are answered, at actors that fall asleep.
func TestEveryConnectionThatOpensDisconnects(t *testing.T) {
	t.Parallel()
	var opened, ended atomic.Int64
	k := newKit(t, nil, actors.SleepAfter(time.Millisecond),
		actors.OnConnect(func(*counter, context.Context, *actors.Conn) error { opened.Add(1); return nil }),
		actors.OnDisconnect(func(*counter, context.Context, *actors.Conn) error { ended.Add(1); return nil }))
	keys := []string{"a", "b", "c", "d", "e", "f"}
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for range 50 {
				ctx, cancel := context.WithCancel(t.Context()) // a deadline would undo turns that have begun
				timer := time.AfterFunc(time.Duration(rand.IntN(40_000))*time.Microsecond/time.Duration(1+rand.IntN(100)), cancel)
				call := k.to(counterv1connect.CounterSubscribeProcedure, keys[rand.IntN(len(keys))], new(counterv1.SubscribeRequest))
				_ = k.follow(ctx, call, &contiguous{stress: &stress{kit: k}})
				timer.Stop()
				cancel()
			}
		})
	}
	workers.Wait()
	k.stop()
	if opened.Load() == 0 || opened.Load() != ended.Load() {
		t.Errorf("%d connections opened and %d ended", opened.Load(), ended.Load())
	}
}
