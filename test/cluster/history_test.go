// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/test/history"
)

// The size of a history. An epoch has registers of its own, so that none gets more
// operations than can be put in order.
const (
	historyCallers  = 9
	historyEpoch    = time.Minute
	historyPatience = 2 * time.Minute // for the order of one register's operations
)

// historyLength is how long faults happen and how many there are at least:
// TROUPE_HISTORY and one, or each fault once, which takes a minute or so.
func historyLength(t *testing.T) (length time.Duration, least int) {
	t.Helper()
	text := os.Getenv("TROUPE_HISTORY")
	if text == "" {
		return 0, len(faults)
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < 0 {
		t.Fatalf("TROUPE_HISTORY=%q is not a time such as 10m", text)
	}
	return length, 1
}

// historySeed is what the faults are drawn from: TROUPE_HISTORY_SEED, or any.
func historySeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("TROUPE_HISTORY_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("TROUPE_HISTORY_SEED=%q is not a number", text)
	}
	return seed
}

// TestP3_Histories has callers and followers of registers at work on three nodes while
// everything fails that can, one after the other, and judges what they were told: see
// package history.
func TestP3_Histories(t *testing.T) {
	t.Parallel()
	length, least := historyLength(t)
	seed := historySeed(t)
	t.Logf("to have the same faults: TROUPE_HISTORY_SEED=%d", seed)
	s := newSite(t)
	h := newPlay(s, seed)
	defer h.end()
	h.answered()
	began := time.Now()
	known := make(epochs)
	for n, f := range plan(seed) {
		if time.Since(began) >= length && n >= least || t.Failed() || t.Context().Err() != nil {
			break
		}
		t.Logf("%6.1fs: %s", time.Since(began).Seconds(), f)
		f.fault.run(s, f)
		s.pause(f.rest)
		s.alive()
		known.check(s)
		if time.Since(h.since) >= historyEpoch {
			h.turnOver()
		}
	}
	h.finish()
}

// play is the callers and followers of a history.
type play struct {
	site     *site
	record   *history.Recorder
	seed     uint64
	balancer *balancer
	since    time.Time // when the epoch has begun

	callers      sync.WaitGroup
	stop         context.CancelFunc // ends the callers of the epoch
	keys         []string           // of all epochs
	streams      map[string][]*history.Stream
	followers    sync.WaitGroup
	leave        context.CancelFunc // ends the followers
	following    context.Context    // of the followers of all epochs
	epochs, next int                // numbers of an epoch and of a caller
}

func newPlay(s *site, seed uint64) *play {
	var urls []string
	for _, m := range s.machines {
		urls = append(urls, "http://"+m.listen)
	}
	h := &play{site: s, record: history.NewRecorder(), seed: seed, balancer: newBalancer(s.t, urls...), streams: make(map[string][]*history.Stream)}
	h.following, h.leave = context.WithCancel(s.t.Context())
	h.begin()
	return h
}

// begin begins an epoch.
func (h *play) begin() {
	h.since = time.Now()
	var keys []string
	for node := range siteNodes {
		keys = append(keys, h.site.keysOf(node, fmt.Sprintf("register-%d-%d", h.epochs, node))...)
	}
	h.epochs++
	for _, key := range keys {
		h.keys = append(h.keys, key)
		// One follower goes to whoever is ready, one stays where it is.
		for n, url := range []string{h.balancer.url(), "http://" + h.site.machines[len(h.keys)%siteNodes].listen} {
			stream := &history.Stream{Name: fmt.Sprintf("follower %d of %s", n, key)}
			h.streams[key] = append(h.streams[key], stream)
			h.followers.Go(func() { follow(h.following, h.site, url, key, stream) })
		}
	}
	ctx, stop := context.WithCancel(h.site.t.Context())
	h.stop = stop
	for range historyCallers {
		c := newCaller(h.site, h.record, h.next, h.seed)
		h.next++
		h.callers.Go(func() { c.work(ctx, keys) })
	}
}

// answered waits until every register has answered: what happens to a node before it has
// created one is no test of what the node has told of it.
func (h *play) answered() {
	first := newCaller(h.site, h.record, h.next, h.seed)
	h.next++
	for _, key := range h.keys {
		h.site.eventually(30*time.Second, "a register answers", func() bool {
			o := first.record.Begin(history.Operation{Client: first.number, Register: key, Kind: history.Read})
			o = first.try(0, o, "", callTimeout, 0)
			first.record.End(o)
			return o.Outcome == history.Done
		})
	}
}

// turnOver begins another epoch once the callers of the present one have ended.
func (h *play) turnOver() {
	h.stop()
	h.callers.Wait()
	h.begin()
}

// end ends everybody.
func (h *play) end() {
	h.stop()
	h.callers.Wait()
	h.leave()
	h.followers.Wait()
}

// finish lets everything come to rest, and judges.
func (h *play) finish() {
	s, t := h.site, h.site.t
	s.network.heal()
	s.settled()
	h.stop()
	h.callers.Wait()
	s.idle()
	last := newCaller(s, h.record, h.next, h.seed)
	for _, key := range h.keys {
		var version int64
		for node := range siteNodes {
			s.eventually(30*time.Second, "a node answers", func() bool {
				o := last.record.Begin(history.Operation{Client: last.number, Register: key, Kind: history.Read})
				o = last.try(node, o, "", callTimeout, 0)
				last.record.End(o)
				version = o.Version
				return o.Outcome == history.Done
			})
		}
		for _, stream := range h.streams[key] {
			s.eventually(2*time.Minute, stream.Name+" has seen everything", func() bool { return stream.Newest() >= version })
		}
	}
	h.end()
	for i, node := range s.nodes {
		if err := node.Stop(); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
	h.judge()
}

// judge compares what everybody was told with what is stored.
func (h *play) judge() {
	t := h.site.t
	logs := h.site.readLogs(h.keys)
	counts := make(map[string]int)
	began := time.Now()
	for key, operations := range h.record.Operations() {
		for _, o := range operations {
			counts[[...]string{"unknown", "done", "not done"}[o.Outcome]]++
		}
		for _, problem := range history.Check(operations, logs[key], historyPatience) {
			t.Errorf("%s: %v", key, problem)
		}
	}
	took := time.Since(began)
	written, events, gaps := 0, 0, 0
	for _, key := range h.keys {
		written += len(logs[key])
		for _, stream := range h.streams[key] {
			e, g := stream.Count()
			events, gaps = events+e, gaps+g
			for _, problem := range stream.Check(logs[key]) {
				t.Error(problem)
			}
		}
	}
	t.Logf("operations: %v, put in order in %s; values written: %d; events seen: %d, gaps told: %d", counts, took, written, events, gaps)
	if counts["done"] == 0 || counts["unknown"] == 0 || written == 0 || events == 0 {
		t.Error("the history has nothing in it")
	}
}
