// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package kill_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/test/program"
)

const (
	accounts = 4 // as many as the program test/kill/ledger has
	payers   = 3 // of each
)

// account is what those outside know of one account.
type account struct {
	number  int
	watcher watcher

	mu    sync.Mutex
	asked int64          // payments, each of which has an amount of its own
	paid  map[int64]bool // by the amount: whether the server has acknowledged it
}

// TestP25_ALedgerSurvivesKill9 kills a server whose accounts pay each other: each
// payment is a change of the state, a pair, a message, a schedule and an event, and
// each message and each run is a turn like it. After each kill the store is read. In
// the end everything that was acknowledged has had its effects, each once, and who
// subscribed has seen every event once.
func TestP25_ALedgerSurvivesKill9(t *testing.T) {
	t.Parallel()
	server := program.Build(t, "github.com/troupe-dev/troupe/test/kill/ledger")
	data := t.TempDir()
	var all []*account
	for n := range accounts {
		a := &account{number: n, paid: make(map[int64]bool)}
		a.watcher.actor, a.watcher.t = strconv.Itoa(n), t
		all = append(all, a)
	}
	var books []*book
	for round := range rounds(t) {
		s := program.Start(t, server, data)
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for _, a := range all {
			callers.Go(func() { a.watcher.work(ctx, s) })
			for range payers {
				callers.Go(func() { a.pay(ctx, s) })
			}
		}
		select { // the load is the test; how long it lasts decides nothing
		case <-time.After(time.Duration(50+rand.IntN(200)) * time.Millisecond):
		case <-s.Exited:
			t.Error("the server ended by itself")
		}
		s.Kill()
		cancel()
		callers.Wait()
		books = readBooks(t, data)
		for n, a := range all {
			a.check(t, books[n])
		}
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	payments := 0
	for n, b := range settle(t, server, data, all, books) {
		all[n].check(t, b)
		if b.left() > 0 {
			t.Errorf("account %d: %d schedules and %d messages are left", n, len(b.scheduled), len(b.sent))
		}
		payments += len(b.paid)
	}
	if payments == 0 {
		t.Error("nothing was paid in all the rounds: the load did not reach the server")
	}
	t.Logf("%d payments in %d rounds", payments, rounds(t))
}

// pay pays until the server does not answer.
func (a *account) pay(ctx context.Context, s *program.Process) {
	for ctx.Err() == nil {
		a.mu.Lock()
		a.asked++
		amount := a.asked
		a.paid[amount] = false
		a.mu.Unlock()
		if _, err := counterAt(s, a.watcher.actor).Increment(ctx, &counterv1.IncrementRequest{Amount: amount}); err != nil {
			return
		}
		a.mu.Lock()
		a.paid[amount] = true
		a.mu.Unlock()
	}
}

// check compares the book of an account with what is known of it outside.
func (a *account) check(t *testing.T, b *book) {
	t.Helper()
	for amount, acknowledged := range a.paid {
		if acknowledged && !b.paid[amount] {
			t.Errorf("account %d: the payment of %d was acknowledged and is lost", a.number, amount)
		}
	}
	if last := a.watcher.last.Load(); b.head < last {
		t.Errorf("account %d: event %d was seen, and %d is the newest", a.number, last, b.head)
	}
}

// differs describes how a set differs from another one; it is empty if it does not.
func differs(got, want map[int64]bool) []int64 {
	odd := make(map[int64]bool)
	for amount := range got {
		if !want[amount] {
			odd[amount] = true
		}
	}
	for amount := range want {
		if !got[amount] {
			odd[amount] = true
		}
	}
	return slices.Sorted(maps.Keys(odd))
}
