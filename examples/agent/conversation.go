// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"

	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
	"google.golang.org/protobuf/proto"
)

// keptMessages bounds what a conversation remembers.
const keptMessages = 100

// answering reports whether the newest message is a question.
func (a *Assistant) answering() bool {
	messages := a.State().GetMessages()
	return len(messages) > 0 && messages[len(messages)-1].GetRole() == agentv1.Role_ROLE_USER
}

// current returns the answer that is being made, or nil. Whether there is one is
// the state's word: fields are not rolled back with a turn that fails.
func (a *Assistant) current() *answer {
	if !a.answering() {
		return nil
	}
	return a.answer
}

// begin has the answer made beside the actor, once this turn is durable.
func (a *Assistant) begin() *answer {
	thinking, cancel := context.WithCancel(a.Context())
	made := newAnswer(a.State().GetCount()+1, cancel)
	conversation := proto.CloneOf(a.State()).GetMessages()
	a.answer = made
	a.Go(func(ctx context.Context) {
		defer cancel()
		made.end(a.make(ctx, thinking, conversation, made))
	})
	return made
}

// make makes an answer, a turn for each token. Those change no state, so that they
// cost no commit.
func (a *Assistant) make(ctx, thinking context.Context, conversation []*agentv1.Message, made *answer) error {
	err := a.model.Answer(thinking, conversation, func(token string) error {
		return a.Turn(ctx, func(context.Context) error {
			made.add(token)
			a.Broadcast(tokenAdded(made.number, token))
			return nil
		})
	})
	if ctx.Err() != nil {
		return err // the actor stops: the question waits for its next wake
	}
	if err != nil && thinking.Err() == nil {
		a.Log().Error("the model failed", slog.Any("error", err))
	}
	return a.Turn(ctx, func(context.Context) error {
		a.add(agentv1.Role_ROLE_ASSISTANT, made.text(), err != nil)
		return nil
	})
}

// add adds a message to the conversation.
func (a *Assistant) add(role agentv1.Role, text string, canceled bool) {
	state := a.State()
	state.Count++
	message := &agentv1.Message{Number: state.GetCount(), Role: role, Text: text, Canceled: canceled}
	state.Messages = append(state.Messages, message)
	state.Messages = state.GetMessages()[max(0, len(state.GetMessages())-keptMessages):]
	a.Broadcast(&agentv1.AssistantEvent{Event: &agentv1.AssistantEvent_MessageAdded{MessageAdded: &agentv1.MessageAdded{Message: message}}})
}

func tokenAdded(number int64, token string) *agentv1.AssistantEvent {
	return &agentv1.AssistantEvent{Event: &agentv1.AssistantEvent_TokenAdded{TokenAdded: &agentv1.TokenAdded{Number: number, Token: token}}}
}
