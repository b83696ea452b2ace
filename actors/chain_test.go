// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

var (
	inCycle = failure{connect.CodeFailedPrecondition, "call_cycle", notExecuted}
	tooDeep = failure{connect.CodeFailedPrecondition, "call_depth", notExecuted}
)

// chained makes every counter call the next one of its route: "ab" makes a call b.
func (k *kit) chained(next map[string]string) {
	k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
		to, ok := next[c.Key()[0]]
		if !ok {
			return nil
		}
		_, err := c.peer(to).Increment(ctx, req)
		return err
	}
}

// TestP21_ACallThatComesBackFailsAndNamesTheCycle returns the error as it is at each
// step, so that it reaches the caller outside.
func TestP21_ACallThatComesBackFailsAndNamesTheCycle(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		next map[string]string
		want []string
	}{
		"A-A":       {map[string]string{"a": "a"}, []string{"a", "a"}},
		"A-B-A":     {map[string]string{"a": "b", "b": "a"}, []string{"a", "b", "a"}},
		"A-B-C-A":   {map[string]string{"a": "b", "b": "c", "c": "a"}, []string{"a", "b", "c", "a"}},
		"A-B-C-B":   {map[string]string{"a": "b", "b": "c", "c": "b"}, []string{"b", "c", "b"}},
		"A-B-C-D-C": {map[string]string{"a": "b", "b": "c", "c": "d", "d": "c"}, []string{"c", "d", "c"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := newKit(t, nil)
			k.chained(test.next)
			begun := time.Now()
			_, err := k.add(t.Context(), "a", 1)
			wantFailure(t, err, inCycle)
			if took := time.Since(begun); took > 0 {
				t.Errorf("%s: it took %s", name, took)
			}
			want := "counter.v1.Counter/" + strings.Join(test.want, " → counter.v1.Counter/")
			if wire, _ := errors.AsType[*connect.Error](err); !strings.HasSuffix(wire.Message(), ": "+want) || wire.IsRemote() {
				t.Errorf("%s: the error says %q, want %q", name, wire.Message(), want)
			}
			for key := range test.next {
				k.mustCount(key, 0)
			}
		})
	}
}

// TestP21_AReadThatComesBackIsACycleToo: the two reads could run beside each other, but
// then whether a call fails would depend on what else waits.
func TestP21_AReadThatComesBackIsACycleToo(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.mustAdd("a", 1)
	for name, client := range map[string]func(c *counter) *connect.Client{
		"key": func(c *counter) *connect.Client { return c.Actors().GetOrCreate(c.Key()...) },
		"id":  func(c *counter) *connect.Client { return c.Actors().ForID(c.ID()) },
	} {
		k.get = func(ctx context.Context, c *counter) error {
			_, err := counterv1connect.NewCounterClient(client(c)).Get(ctx, new(counterv1.GetRequest))
			return err
		}
		_, err := k.count(t.Context(), "a")
		if got := failureOf(t, err); got != inCycle {
			t.Errorf("by %s the error is %v", name, err)
		}
	}
}

func TestP21_TheDepthOfACallIsBounded(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	reached := 0
	k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
		n, _ := strconv.Atoi(c.Key()[0])
		reached = max(reached, n)
		if int64(n) == req.GetAmount() {
			return nil
		}
		_, err := c.peer(strconv.Itoa(n+1)).Increment(ctx, req)
		return err
	}
	if _, err := k.add(t.Context(), "1", 16); err != nil || reached != 16 {
		t.Fatalf("a chain of 16 actors reached %d: %v", reached, err)
	}
	_, err := k.add(t.Context(), "1", 17)
	wantFailure(t, err, tooDeep)
	if reached != 16 {
		t.Errorf("the chain reached %d", reached)
	}
}

// TestP21_MutualCallsDoNotWaitForEachOther has chains that are no cycle by themselves
// close a ring: one call fails at once, the others go on.
func TestP21_MutualCallsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	for _, size := range []int{2, 3, 7} {
		synctest.Test(t, func(t *testing.T) {
			k := newKit(t, nil)
			var together sync.WaitGroup
			together.Add(size)
			k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
				if req.GetAmount() == 1 {
					return nil
				}
				together.Done()
				together.Wait()
				n, _ := strconv.Atoi(c.Key()[0])
				_, err := c.peer(strconv.Itoa((n+1)%size)).Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
				return err
			}
			begun := time.Now()
			answers := make(chan error, size)
			for n := range size {
				go func() { _, err := k.add(t.Context(), strconv.Itoa(n), 100); answers <- err }()
			}
			failed := 0
			for range size {
				if err := <-answers; err != nil {
					wantFailure(t, err, inCycle)
					if n := strings.Count(err.Error(), "→"); n != size {
						t.Errorf("the ring of %d is %v", size, err)
					}
					failed++
				}
			}
			if failed != 1 || time.Since(begun) > 0 {
				t.Errorf("%d of %d calls failed, after %s", failed, size, time.Since(begun))
			}
		})
	}
}

// TestP21_ARingThroughAMailboxIsFound: what waits for a ring through another actor's
// mailbox is part of it, what only stands behind it is not.
func TestP21_ARingThroughAMailboxIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		gate := make(chan struct{})
		k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
			if req.GetAmount() == 1 {
				return nil
			}
			if c.Key()[0] == "b" {
				<-gate
			}
			_, err := c.peer(map[string]string{"a": "b", "b": "c", "c": "a"}[c.Key()[0]]).Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
			return err
		}
		answers := make(map[string]chan error)
		for _, key := range []string{"b", "a", "c"} {
			answers[key] = make(chan error, 1)
			go func() { _, err := k.add(t.Context(), key, 100); answers[key] <- err }()
			synctest.Wait()
		}
		// Now c waits for a, and a for b, which has not called yet.
		behind := make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "b", 1); behind <- err }()
		synctest.Wait()
		close(gate)
		wantFailure(t, <-answers["b"], inCycle)
		if err := errors.Join(<-answers["a"], <-answers["c"], <-behind); err != nil {
			t.Error(err)
		}
	})
}

// TestP21_ReadsThatCallEachOtherGoOn: two reads run beside what they wait for.
func TestP21_ReadsThatCallEachOtherGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		k.mustAdd("a", 1)
		k.mustAdd("b", 1)
		var together sync.WaitGroup
		together.Add(2)
		outer := true
		var mu sync.Mutex
		begun := map[string]bool{}
		k.get = func(ctx context.Context, c *counter) error {
			mu.Lock()
			first := outer && !begun[c.Key()[0]]
			begun[c.Key()[0]] = true
			mu.Unlock()
			if !first {
				return nil
			}
			together.Done()
			together.Wait()
			_, err := c.peer(map[string]string{"a": "b", "b": "a"}[c.Key()[0]]).Get(ctx, new(counterv1.GetRequest))
			return err
		}
		answers := make(chan error, 2)
		for _, key := range []string{"a", "b"} {
			go func() { _, err := k.count(t.Context(), key); answers <- err }()
		}
		if err := errors.Join(<-answers, <-answers); err != nil {
			t.Error(err)
		}
	})
}

// TestP21_ATurnWaitsForItsOwnCallsOnly: a read that runs beside one that waits is no part
// of that one's ring.
func TestP21_ATurnWaitsForItsOwnCallsOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		k.mustAdd("c", 1)
		gate, open := make(chan struct{}), make(chan struct{})
		k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
			switch key := c.Key()[0]; {
			case req.GetAmount() == 1:
			case key == "a":
				<-open
				_, err := c.peer("b").Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
				return err
			case key == "b":
				_, err := c.peer("c").Get(ctx, new(counterv1.GetRequest))
				return err
			}
			return nil
		}
		first := true
		k.get = func(ctx context.Context, c *counter) error {
			if first { // called by b
				first = false
				<-gate
				return nil
			}
			_, err := c.peer("a").Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
			return err
		}
		answers := make(chan error, 3)
		for _, call := range []func() error{
			func() error { _, err := k.add(t.Context(), "a", 100); return err },
			func() error { _, err := k.add(t.Context(), "b", 100); return err },
			func() error { _, err := k.count(t.Context(), "c"); return err }, // waits for a
		} {
			go func() { answers <- call() }()
			synctest.Wait()
		}
		close(open) // a waits for b, which waits for c's other read
		synctest.Wait()
		close(gate)
		if err := errors.Join(<-answers, <-answers, <-answers); err != nil {
			t.Error(err)
		}
	})
}

// TestP21_NoCallsOfManyActorsHang lets actors call each other at random: every call
// ends without a time limit, and what was counted is what went well.
func TestP21_NoCallsOfManyActorsHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 6
		k := newKit(t, nil, actors.ActionTimeout(300*time.Second))
		k.increment = func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error {
			rest := req.GetAmount()
			if rest < 10 {
				return nil
			}
			_, err := c.peer(fmt.Sprint(rest%size)).Increment(ctx, &counterv1.IncrementRequest{Amount: rest / size})
			if failureOf(t, orCycle(err)) != inCycle {
				return err
			}
			return nil
		}
		begun := time.Now()
		var callers sync.WaitGroup
		for caller := range 8 {
			callers.Go(func() {
				for n := range 50 {
					seed := int64(1000 + 7919*caller + 104729*n)
					if _, err := k.add(t.Context(), fmt.Sprint(seed%size), seed); err != nil {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		if took := time.Since(begun); took > 0 {
			t.Errorf("somebody waited for %s", took)
		}
	})
}

// orCycle stands in for no error.
func orCycle(err error) error {
	if err == nil {
		return connect.NewError(connect.CodeUnknown, "")
	}
	return err
}
