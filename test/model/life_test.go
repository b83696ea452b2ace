// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"time"

	"connectrpc.com/connect/v2"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"pgregory.net/rapid"
)

// sleep lets every actor fall asleep; their streams stay.
func (w *world) sleep(r *rapid.T) {
	time.Sleep(sleepAfter + 2*time.Second) //nolint:forbidigo // no time passes outside the bubble
	for _, key := range []string{"", "a", "b"} {
		if w.model.actors[key] == nil {
			continue
		}
		described, err := w.client.Actors().Get(context.Background(), &troupev1.GetRequest{Address: w.client.Address(counterv1connect.CounterName, segments(key)...)})
		want(r, "a look at a sleeper", err, good)
		if described.GetActor().GetAwake() {
			r.Fatalf("%q has not fallen asleep", key)
		}
	}
}

// destroy destroys an actor from outside.
func (w *world) destroy(r *rapid.T) {
	key := someKey.Draw(r, "key")
	_, err := w.client.Actors().Destroy(context.Background(), &troupev1.DestroyRequest{Address: w.client.Address(counterv1connect.CounterName, segments(key)...)})
	a := w.model.actors[key]
	if a == nil {
		want(r, "the end of nobody", err, absent)
		return
	}
	want(r, "the end of an actor", err, good)
	a.destroyed = true
	w.model.commit(key, a)
	w.endStreamsOf(key, troupev1Destroyed)
}

// unreadable has the store fail while an actor wakes.
func (w *world) unreadable(r *rapid.T) {
	w.sleep(r)
	w.FailNextRead(nil)
	_, err := w.counter(someKey.Draw(r, "key"), troupe.Get).Get(context.Background(), &counterv1.GetRequest{})
	want(r, "a call of what cannot be read", err, answer{connect.CodeInternal, notExecuted, "internal"})
}

// crash ends the server as kill -9 does, while nothing is under way.
func (w *world) crash(*rapid.T) {
	w.Restart()
	w.endStreams(troupev1Unspecified)
}

// stop stops the server in good order and starts it again.
func (w *world) stop(*rapid.T) {
	w.Stop()
	w.Restart()
	w.endStreams(troupev1Shutdown)
}
