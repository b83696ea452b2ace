// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
)

// tenant tells the tenant of a node what it has gained, should release and has lost,
// one after the other. Releases run beside that; what is lost waits for those that
// run. Its queue is as long as the machine's decisions, which wait for each other.
type tenant struct {
	placement.Tenant
	post func(Input) bool

	queue chan struct{} // holds a token while jobs or closed may have something new
	mu    sync.Mutex    // guards the fields below
	jobs  []func()
	ended bool

	ctx      context.Context //nolint:containedctx // of the releases of one stay
	cancel   context.CancelFunc
	releases sync.WaitGroup
}

func newTenant(t placement.Tenant, post func(Input) bool) *tenant {
	n := &tenant{Tenant: t, post: post, queue: make(chan struct{}, 1)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// run does the jobs until close has been called and none is left.
func (t *tenant) run() {
	for range t.queue {
		t.mu.Lock()
		jobs, ended := t.jobs, t.ended
		t.jobs = nil
		t.mu.Unlock()
		for _, job := range jobs {
			job()
		}
		if ended {
			break
		}
	}
	t.cancel()
	t.releases.Wait()
}

func (t *tenant) add(job func()) {
	t.mu.Lock()
	t.jobs = append(t.jobs, job)
	t.mu.Unlock()
	t.wake()
}

func (t *tenant) close() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.wake()
}

func (t *tenant) wake() {
	select {
	case t.queue <- struct{}{}:
	default:
	}
}

func (t *tenant) gained(shards []uint16) { t.add(func() { t.Gained(shards) }) }

// lost gives up the releases that run, and tells what is lost when they have ended.
func (t *tenant) lost(shards []uint16) {
	t.mu.Lock()
	t.cancel()
	t.mu.Unlock()
	t.add(func() {
		t.releases.Wait()
		if len(shards) > 0 {
			t.Lost(shards)
		}
		t.mu.Lock()
		t.ctx, t.cancel = context.WithCancel(context.Background())
		t.mu.Unlock()
		t.post(Forgotten{})
	})
}

func (t *tenant) release(r Release, within time.Duration) {
	t.add(func() {
		t.mu.Lock()
		ctx := t.ctx
		t.mu.Unlock()
		t.releases.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, within)
			defer cancel()
			err := t.Release(ctx, r.Shards)
			t.post(Released{ID: r.ID, Err: err})
		})
	})
}
