// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"sync"
)

// answer is an answer while it is made. Streams follow it beside the actor, so it
// has a lock of its own and lives in memory only.
type answer struct {
	number int64
	cancel context.CancelFunc // ends the making of it

	mu     sync.Mutex
	tokens []string      // guarded by mu
	ended  bool          // guarded by mu
	err    error         // guarded by mu; why it ended, if not well
	grown  chan struct{} // guarded by mu; closed at the next change
}

func newAnswer(number int64, cancel context.CancelFunc) *answer {
	return &answer{number: number, cancel: cancel, grown: make(chan struct{})}
}

// add adds a token for everybody who follows.
func (a *answer) add(token string) {
	a.change(func() { a.tokens = append(a.tokens, token) })
}

// end tells everybody who follows that there is no more.
func (a *answer) end(err error) {
	a.change(func() { a.ended, a.err = true, err })
}

func (a *answer) change(how func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	how()
	close(a.grown)
	a.grown = make(chan struct{})
}

// text returns what there is so far.
func (a *answer) text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.tokens, "")
}

// follow sends every token from the first one to the end of the answer.
func (a *answer) follow(ctx context.Context, send func(token string) error) error {
	for sent := 0; ; {
		a.mu.Lock()
		fresh, ended, err, grown := a.tokens[sent:], a.ended, a.err, a.grown
		a.mu.Unlock()
		for _, token := range fresh {
			if err := send(token); err != nil {
				return err
			}
		}
		if ended {
			return err
		}
		sent += len(fresh)
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
