// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// TestP25_MoneyIsNeitherLostNorMade moves money between accounts at random, while turns
// fail, commits fail or cannot say whether they have, reads fail, and processes end. A
// transfer takes from one account and sends the other one a message in the same turn.
func TestP25_MoneyIsNeitherLostNorMade(t *testing.T) {
	t.Parallel()
	for seed := range uint64(25) {
		synctest.Test(t, func(t *testing.T) {
			b := &bank{rand: rand.New(rand.NewPCG(seed, 25)), disk: memory.New(memory.Options{})}
			b.open(t)
			for range 60 {
				b.step(t)
			}
			b.calm.Store(true)
			b.open(t)
			pass(10 * time.Minute) // for what waits for its next attempt
			sum, moved := int64(0), false
			for n := range accounts {
				balance, err := b.kit.count(t.Context(), fmt.Sprint(n))
				if err != nil {
					t.Fatal(err)
				}
				sum += balance
				moved = moved || balance != 0
				if rows := b.kit.outbox(fmt.Sprint(n)); len(rows) > 0 {
					for _, row := range rows {
						if row[0] == 'm' || row[0] == 'd' {
							t.Errorf("seed %d: the outbox keeps %q", seed, row)
						}
					}
				}
			}
			if sum != 0 || !moved {
				t.Errorf("seed %d: the balances add up to %d", seed, sum)
			}
		})
	}
}

const accounts = 5

// bank is a number of accounts, and what goes wrong with them.
type bank struct {
	rand   *rand.Rand
	disk   store.Store
	plug   *severed
	faulty *storetest.Faulty
	kit    *kit
	calm   atomic.Bool
}

// open starts a process, after it has cut off the one before.
func (b *bank) open(t *testing.T) {
	if b.plug != nil {
		b.plug.sever()
	}
	b.plug = &severed{Store: b.disk}
	b.faulty = storetest.NewFaulty(b.plug)
	k := &kit{tb: t, store: b.faulty, methods: make(map[string]*actors.Method)}
	b.kit = k
	failures := rand.New(rand.NewPCG(b.rand.Uint64(), 1))
	var l log // its lock
	k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
		amount := req.GetAmount()
		l.mu.Lock()
		luck := failures.IntN(10)
		l.mu.Unlock()
		if amount < 0 { // money arrives: Increment has taken it from the balance
			if c.State().Count -= 2 * amount; luck == 0 && !b.calm.Load() {
				return errors.New("a receiver that fails")
			}
			return nil
		}
		c.State().Count -= 2 * amount
		if err := c.post(fmt.Sprint(amount%accounts), -amount); err != nil {
			return err
		}
		if luck == 1 {
			return actors.Errorf(connect.CodeAborted, "changed_my_mind", "no")
		}
		return nil
	}
	// Messages are on their way as soon as the host is there.
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return &counter{kit: k} }, actors.SleepAfter(2*time.Second))
	host, err := actors.NewHost(actors.Config{Registry: registry, Store: b.faulty, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	k.Host = host
	for _, m := range host.Methods() {
		k.methods[m.Spec.Procedure] = m
	}
	t.Cleanup(k.stop)
}

// step lets one thing happen.
func (b *bank) step(t *testing.T) {
	switch b.rand.IntN(12) {
	case 0:
		b.open(t)
	case 1:
		b.faulty.FailCommit(errors.New("disk full"))
	case 2:
		b.faulty.FailCommitAfter(store.ErrUnknown)
	case 3:
		b.faulty.FailCommit(nil) // the fault that follows meets a later commit
		b.faulty.FailCommitAfter(store.ErrUnknown)
	case 4:
		b.faulty.FailRead(errors.New("a read that fails"))
	case 5:
		pass(time.Duration(b.rand.IntN(3000)) * time.Millisecond)
	case 6:
		synctest.Wait()
	default:
		from, amount := fmt.Sprint(b.rand.IntN(accounts)), 1+b.rand.Int64N(1000)
		k := b.kit
		go func() { _, _ = k.add(context.Background(), from, amount) }()
	}
}
