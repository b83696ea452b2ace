// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
)

// countedNodes is a placement that only lists nodes, and counts how often. A look
// takes 100 ms.
type countedNodes struct {
	placement.Placement

	mu    sync.Mutex
	looks int
	fails error
	nodes []placement.NodeStatus
}

func (c *countedNodes) Self() placement.Node { return placement.Node{ID: "self"} }

func (c *countedNodes) Nodes(context.Context) ([]placement.NodeStatus, error) {
	time.Sleep(100 * time.Millisecond) //nolint:forbidigo // in a bubble
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	return c.nodes, c.fails
}

// TestTokensOfUnknownNodesCostFewLooks has calls name streams of nodes that do not
// exist: whoever knows no token must not keep the database from its work.
func TestTokensOfUnknownNodesCostFewLooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := &countedNodes{}
		c := &peers{placement: nodes, watches: new(watches), look: newLook()}
		began := time.Now()
		var callers sync.WaitGroup
		for n := range 1000 {
			callers.Go(func() {
				time.Sleep(time.Duration(n) * 10 * time.Millisecond) //nolint:forbidigo // in a bubble
				if _, found, err := c.holderOf(t.Context(), fmt.Sprintf("node%d.id.secret", n)); found || err != nil {
					t.Errorf("a node that does not exist: %v, %v", found, err)
				}
			})
		}
		callers.Wait()
		if most := int(time.Since(began)/lookPause) + 1; nodes.looks > most {
			t.Errorf("%d looks for 1000 tokens in %s, want %d at most", nodes.looks, time.Since(began), most)
		}

		// One that has come since is found, by a look that began after the call.
		nodes.nodes = []placement.NodeStatus{{Node: placement.Node{ID: "late"}}}
		if node, found, err := c.holderOf(t.Context(), "late.id.secret"); !found || err != nil || node.ID != "late" {
			t.Errorf("a node that has come: %v, %v, %v", node, found, err)
		}
		looks := nodes.looks
		if _, found, _ := c.holderOf(t.Context(), "late.other.secret"); !found || nodes.looks != looks {
			t.Errorf("a node that is known: %v after %d looks more", found, nodes.looks-looks)
		}
		nodes.fails = errors.New("the database is away")
		if _, found, err := c.holderOf(t.Context(), "other.id.secret"); found || err == nil {
			t.Errorf("nobody can look: %v, %v", found, err)
		}
		impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, _, err := c.holderOf(impatient, "other.id.secret"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller that leaves while it waits for a look: %v", err)
		}
	})
}

// TestNumbersThatWereRemovedAreForgotten removes subscriptions that a stream never had.
func TestNumbersThatWereRemovedAreForgotten(t *testing.T) {
	t.Parallel()
	w := &watch{ctx: t.Context(), carried: make(map[uint32]context.CancelFunc), seen: make(map[uint32]bool)}
	if _, err := w.reserve(math.MaxUint32); err != nil {
		t.Fatal(err)
	}
	for number := range uint32(10 * numberWindow) {
		w.remove(number)
		w.remove(math.MaxUint32 - number)
	}
	if len(w.seen) > 2*numberWindow {
		t.Errorf("%d numbers are remembered", len(w.seen))
	}
	if own, err := w.reserve(math.MaxUint32 - 1); own != nil || err != nil {
		t.Errorf("a subscription whose removal came before it: %v, %v", own, err)
	}
}
