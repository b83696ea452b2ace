// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
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

// callers are turns that call other actors when they are told to.
type callers struct {
	*fleet
	calls map[string]string // who calls whom; set before they are called
	waits map[string]bool   // who first waits for end
	begun chan string       // those that wait
	end   chan struct{}

	mu  sync.Mutex
	ran map[string]*kit // guarded by mu; where an actor ran last
}

func newCallers(t *testing.T) *callers {
	t.Helper()
	c := &callers{calls: make(map[string]string), waits: make(map[string]bool), begun: make(chan string, 8), end: make(chan struct{}), ran: make(map[string]*kit)}
	c.fleet = newFleet(t, 2, func(k *kit) {
		k.increment = func(ctx context.Context, a *counter, req *counterv1.IncrementRequest) error {
			key := a.Key()[0]
			c.mu.Lock()
			c.ran[key] = k
			c.mu.Unlock()
			if c.waits[key] {
				c.begun <- key
				<-c.end
			}
			if to := c.calls[key]; to != "" {
				_, err := counterv1connect.NewCounterClient(a.Actors().GetOrCreate(to)).Increment(ctx, req)
				return err
			}
			return nil
		}
	})
	return c
}

// elsewhere returns a key that the first host runs in another shard than those of keys.
func (c *callers) elsewhere(keys ...string) string {
	for n := 0; ; n++ {
		key := c.keyOf(0, n)
		if !slices.ContainsFunc(keys, func(other string) bool { return c.shardOf(other) == c.shardOf(key) }) {
			return key
		}
	}
}

// move has the shards of keys handed over to the second host, all at one time.
func (c *callers) move(t *testing.T, keys ...string) (moved chan error) {
	t.Helper()
	moved = make(chan error, len(keys))
	for _, key := range keys {
		go func() { moved <- c.Move(t.Context(), c.shardOf(key), c.nodes[1]) }()
	}
	pass(100 * time.Millisecond)
	return moved
}

// TestP40_ATurnOfAMovingActorCallsAnother holds that a turn which has begun ends well,
// and soon, if it calls an actor that moves with its own.
func TestP40_ATurnOfAMovingActorCallsAnother(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(c *callers) (begin, move []string){
		"of one shard": func(c *callers) (begin, move []string) {
			a := c.keyOf(0, 0)
			c.calls[a] = c.neighborOf(a)
			return []string{a}, []string{a}
		},
		"of shards that wait for each other": func(c *callers) (begin, move []string) {
			a := c.keyOf(0, 0)
			b := c.elsewhere(a)
			c.calls[a], c.calls[b] = c.neighborOf(b), c.neighborOf(a)
			return []string{a, b}, []string{a, b}
		},
		"through one that stays": func(c *callers) (begin, move []string) {
			a := c.keyOf(0, 0)
			stays := c.elsewhere(a)
			c.calls[a], c.calls[stays] = stays, c.neighborOf(a)
			return []string{a}, []string{a}
		},
		"through another node": func(c *callers) (begin, move []string) {
			a, other := c.keyOf(0, 0), c.keyOf(1, 0)
			c.calls[a], c.calls[other] = other, c.neighborOf(a)
			return []string{a}, []string{a}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCallers(t)
				begin, move := set(c)
				answers := make(chan error, len(begin))
				for _, key := range begin {
					c.waits[key] = true
					go func() { _, err := c.kits[0].add(t.Context(), key, 1); answers <- err }()
					<-c.begun
				}
				moved := c.move(t, move...)
				close(c.end)
				ended := time.Now()
				for range begin {
					if err := await(t, "answer", answers); err != nil {
						t.Error(err)
					}
				}
				for range move {
					if err := await(t, "end of a move", moved); err != nil {
						t.Error(err)
					}
				}
				if took := time.Since(ended); took > time.Second {
					t.Errorf("it took %s", took)
				}
				for from, to := range c.calls {
					c.kits[0].mustCount(from, 1)
					c.kits[0].mustCount(to, 1)
				}
			})
		})
	}
}

// TestAMovingActorTakesNoNewCalls holds that the calls of an actor which stays go to the
// next holder: they would keep the shard for as long as they come.
func TestAMovingActorTakesNoNewCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCallers(t)
		busy := c.keyOf(0, 0)
		stays, called := c.elsewhere(busy), c.neighborOf(busy)
		c.waits[busy], c.calls[stays] = true, called
		answers := make(chan error, 2)
		go func() { _, err := c.kits[0].add(t.Context(), busy, 1); answers <- err }()
		<-c.begun
		moved := c.move(t, busy)
		go func() { _, err := c.kits[0].add(t.Context(), stays, 1); answers <- err }()
		pass(100 * time.Millisecond)
		close(c.end)
		for range 2 {
			if err := await(t, "answer", answers); err != nil {
				t.Error(err)
			}
		}
		if err := await(t, "end of the move", moved); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ran[busy] != c.kits[0] || c.ran[stays] != c.kits[0] || c.ran[called] != c.kits[1] {
			t.Error("the call did not go to the next holder")
		}
	})
}

// TestAnActorThatWasNotHandedOverStartsAnew has something of an actor outlast the time
// of a handover, so that its node keeps it.
func TestAnActorThatWasNotHandedOverStartsAnew(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ hooked, waking bool }{
		"a turn":                       {false, false},
		"a turn, with a sleep hook":    {true, false},
		"its wake hook":                {false, true},
		"its wake hook, and it sleeps": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var wakes, sleeps, loops atomic.Int32
				begun, left, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
				options := []actors.Option{
					actors.HookTimeouts{Wake: time.Minute},
					actors.OnWake(func(c *counter, _ context.Context) error {
						c.Go(func(ctx context.Context) { loops.Add(1); <-ctx.Done(); loops.Add(-1) })
						if wakes.Add(1) == 1 && test.waking {
							close(begun)
							<-left
							_ = c.Context()
							<-end
						}
						return nil
					}),
				}
				if test.hooked {
					options = append(options, actors.OnSleep(func(*counter, context.Context) error { sleeps.Add(1); return nil }))
				}
				f := newFleet(t, 2, func(k *kit) {
					k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
						if req.GetAmount() == 7 && !test.waking {
							close(begun)
							<-left
							<-end
						}
						return nil
					}
				}, options...)
				key := f.keyOf(0, 0)
				answer := make(chan error, 1)
				go func() { _, err := f.kits[0].add(t.Context(), key, 7); answer <- err }()
				<-begun
				f.nodes[0].Move([]uint16{f.shardOf(key)}, f.nodes[1].Self().ID)
				pass(5 * time.Second)
				close(left)
				pass(7 * time.Second) // the handover is given up
				close(end)
				if err := await(t, "answer", answer); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got := loops.Load(); got != 0 {
					t.Errorf("%d loops run before the actor has woken again", got)
				}
				f.kits[0].mustAdd(key, 1)
				synctest.Wait()
				if !f.nodes[0].Holds(f.shardOf(key)) || wakes.Load() != 2 || loops.Load() != 1 {
					t.Errorf("the actor woke %d times, and %d loops run", wakes.Load(), loops.Load())
				}
				if test.hooked && sleeps.Load() != 1 {
					t.Errorf("it slept %d times", sleeps.Load())
				}
				f.kits[0].mustCount(key, 8)
			})
		})
	}
}
