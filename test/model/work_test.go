// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"

	"pgregory.net/rapid"
)

// workStep has work go on beside the actor, which takes a turn to add one and to
// publish that. It begins once its turn is durable: if that fails, never.
func workStep(*rapid.T) step {
	return step{
		name: "work",
		real: func(_ context.Context, s *subject) error {
			s.Go(func(ctx context.Context) {
				_ = s.Turn(ctx, func(ctx context.Context) error { // fails if the actor has been destroyed
					s.State().Count++
					return publishStep(nil).real(ctx, s)
				})
			})
			return nil
		},
		model: func(a *actor) { a.works++ },
	}
}

// work lets the work of a turn that is durable be done.
func (w *world) work(key string, turn *actor) {
	if w.model.actors[key] == nil {
		return
	}
	for range turn.works {
		w.expect(key, w.advance(key, []step{{model: func(a *actor) {
			a.count++
			a.events = append(a.events, a.publish())
		}}}))
	}
}
