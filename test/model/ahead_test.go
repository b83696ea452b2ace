// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"pgregory.net/rapid"
)

func TestP12_TurnsAheadOfTheDiskShareItsFate(t *testing.T) {
	t.Parallel()
	check(t, map[string]func(*world, *rapid.T){
		"ahead": (*world).ahead, "ahead again": (*world).ahead, "subscribe": (*world).subscribe, "turn": (*world).turn,
	})
}

// ahead has turns run while the disk keeps the first one's commit back, and a read
// behind them. Nothing leaves before the disk answers. Then that commit has its fate,
// and with it all that saw it; turns that the depth kept waiting run after that.
func (w *world) ahead(r *rapid.T) {
	key := someKey.Draw(r, "key")
	if w.model.actors[key] == nil {
		w.do(r, key, troupe.GetOrCreate, nil, returns, well)
	}
	plans := make([][]step, rapid.IntRange(1, 5).Draw(r, "turns"))
	for n := range plans {
		plans[n] = []step{addStep(r), publishStep(r)}
	}
	f := rapid.SampledFrom([]fate{well, fail, lostBefore, lostAfter, crashAfter}).Draw(r, "fate")
	hold := w.HoldCommits()
	defer hold.Release()
	if f != crashAfter {
		w.arm(f)
	}
	answers := make([]chan error, len(plans)+1)
	for n, plan := range plans {
		answers[n] = w.begin(func() error { return w.call(key, troupe.GetOrCreate, plan, returns) })
	}
	var read int64
	answers[len(plans)] = w.begin(func() error {
		reply, err := w.counter(key, troupe.Get).Get(context.Background(), &counterv1.GetRequest{})
		read = reply.GetCount()
		return err
	})
	for n, c := range answers {
		if len(c) > 0 {
			r.Fatalf("call %d of %d has an answer (%v) before a commit is durable", n+1, len(answers), <-c)
		}
	}
	for _, s := range w.streams {
		s.compare(r)
	}
	if f == crashAfter { // the first commit is on the disk, the others never begin
		w.Restart()
		for n, c := range answers {
			want(r, fmt.Sprintf("call %d of %d when the server crashes", n+1, len(answers)), <-c, cut)
		}
		w.advance(key, plans[0])
		w.publish(key, nil, f, false)
		return
	}
	hold.Release()
	ran := min(len(plans), w.depth) // before the disk answered
	var events []event
	for n, plan := range plans {
		expect, stored := good, true
		switch {
		case n == 0:
			expect, stored = f.answer(), f.stored()
		case n < ran && !f.stored():
			expect, stored = discarded, false
		}
		want(r, fmt.Sprintf("turn %d of %d ahead of a commit that %s", n+1, len(plans), f), <-answers[n], expect)
		if stored {
			events = append(events, w.advance(key, plan)...)
		}
	}
	expect := good
	switch {
	case len(plans) == 1:
		expect = f.answer()
	case ran == len(plans) && !f.stored():
		expect = discarded
	}
	want(r, "a read behind them", <-answers[len(plans)], expect)
	if a := w.model.actors[key]; expect == good && read != a.count {
		r.Fatalf("the read behind them is %d, want %d", read, a.count)
	}
	w.publish(key, events, f, false)
	if f == fail { // those that the depth kept waiting
		w.expect(key, events)
	}
}

// begin starts a call and lets it come as far as it can.
func (*world) begin(call func() error) chan error {
	answer := make(chan error, 1)
	go func() { answer <- call() }()
	synctest.Wait()
	return answer
}

// advance makes a turn in the model and returns its events.
func (w *world) advance(key string, plan []step) []event {
	after := w.model.begin(key)
	for _, s := range plan {
		s.model(after)
	}
	after.revision++
	return w.model.commit(key, after)
}
