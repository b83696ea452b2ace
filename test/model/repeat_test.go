// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"fmt"

	"connectrpc.com/connect/v2"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"pgregory.net/rapid"
)

// repeat makes one request up to three times under one idempotency key, the first
// time with a commit of random fate, and then another request under that key. The
// effect is there once, the reply each time the first one.
func (w *world) repeat(r *rapid.T) {
	key, f := someKey.Draw(r, "key"), someFate.Draw(r, "fate")
	if w.model.actors[key] == nil {
		w.do(r, key, troupe.GetOrCreate, nil, returns, well)
	}
	plan := []step{addStep(r), publishStep(r)}
	n := w.scripts.put(func(ctx context.Context, s *subject) error { return perform(ctx, s, plan) })
	w.keys++
	call := func(n int64) (int64, error) {
		ctx, info := connect.NewClientContext(context.Background())
		info.RequestHeader().Set("idempotency-key", fmt.Sprintf("request-%d", w.keys))
		reply, err := w.counter(key, troupe.GetOrCreate).Increment(ctx, &counterv1.IncrementRequest{Amount: n})
		return reply.GetCount(), err
	}
	w.arm(f)
	_, err := call(n)
	again := f.crashes() && err == nil // net/http itself has sent it again, as the key allows
	if !again {
		want(r, fmt.Sprintf("a keyed turn of %q whose commit %s", key, f), err, f.answer())
	}
	var events []event
	if f.stored() || again {
		events = w.advance(key, plan)
	}
	w.publish(key, events, f, false)
	for range rapid.IntRange(1, 2).Draw(r, "repetitions") {
		if !f.stored() && !again { // it has not run yet
			again = true
			w.expect(key, w.advance(key, plan))
		}
		got, err := call(n)
		want(r, "a repetition", err, good)
		if want := w.model.actors[key].count; got != want {
			r.Fatalf("a repetition says %d, want %d", got, want)
		}
	}
	_, err = call(w.scripts.put(func(context.Context, *subject) error { return nil }))
	want(r, "another request under the same key", err, answer{connect.CodeInvalidArgument, notExecuted, ""})
}
