// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"time"

	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
)

// Model makes answers. An adapter to a language model implements it.
type Model interface {
	// Answer answers the last message of the conversation, oldest first, and calls
	// emit with one piece of the answer after the other. It stops when ctx ends or
	// emit fails, and returns that error.
	Answer(ctx context.Context, conversation []*agentv1.Message, emit func(token string) error) error
}

// Parrot is a Model that is no language model: it knows nothing, and answers by
// three fixed rules with what it was told. The same conversation always gets the
// same answer. It stands in for a real model so that the example runs by itself.
type Parrot struct {
	// Pause is how long it takes for each word.
	Pause time.Duration
}

var _ Model = (*Parrot)(nil)

// Answer implements [Model].
func (p *Parrot) Answer(ctx context.Context, conversation []*agentv1.Message, emit func(token string) error) error {
	for word := range strings.SplitAfterSeq(reply(conversation), " ") {
		select {
		case <-time.After(p.Pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := emit(word); err != nil {
			return err
		}
	}
	return nil
}

// reply is the whole answer to the last message.
func reply(conversation []*agentv1.Message) string {
	var asked []string
	for _, message := range conversation {
		if message.GetRole() == agentv1.Role_ROLE_USER {
			asked = append(asked, strings.TrimSpace(message.GetText()))
		}
	}
	question := asked[len(asked)-1]
	switch {
	case strings.HasPrefix(strings.ToLower(question), "remind me"):
		return "So far you have said: " + strings.Join(asked[:len(asked)-1], "; ") + "."
	case strings.HasSuffix(question, "?"):
		return "I am a parrot, so I cannot tell; but I can repeat it: " + question
	}
	return "You said: " + question
}
