// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Agent is an assistant that streams its answers: one actor is one conversation.
package main

import (
	"context"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
	"github.com/troupe-dev/troupe/gen/go/agent/v1/agentv1connect"
	"github.com/troupe-dev/troupe/server"
)

// Assistant implements agent.v1.Assistant. Its key names the conversation.
type Assistant struct {
	agentv1connect.UnimplementedAssistantHandler
	actors.Actor[*agentv1.AssistantState, *agentv1.AssistantEvent]

	model  Model
	answer *answer // the newest one; see current
}

// Ask asks a question and streams the answer. It runs beside the actor: it enters a
// turn to begin the answer, and then follows it.
func (a *Assistant) Ask(ctx context.Context, req *agentv1.AskRequest, stream agentv1connect.AssistantAskServerStream) error {
	var made *answer
	err := a.Turn(ctx, func(context.Context) error {
		if a.answering() {
			return actors.Errorf(connect.CodeFailedPrecondition, "busy", "an answer is being made: join it or cancel it first")
		}
		a.add(agentv1.Role_ROLE_USER, req.GetText(), false)
		made = a.begin()
		return nil
	})
	if err != nil {
		return err
	}
	if err := stream.SendHeaders(); err != nil { // the question is taken, the first token may be far
		return err
	}
	return made.follow(ctx, func(token string) error { return stream.Send(&agentv1.AskResponse{Token: token}) })
}

// Join streams the answer that is being made, from its beginning.
func (a *Assistant) Join(ctx context.Context, _ *agentv1.JoinRequest, stream agentv1connect.AssistantJoinServerStream) error {
	var made *answer
	if err := a.ReadTurn(ctx, func(context.Context) error { made = a.current(); return nil }); err != nil {
		return err
	}
	if made == nil {
		return actors.Errorf(connect.CodeFailedPrecondition, "no_answer", "no answer is being made")
	}
	if err := stream.SendHeaders(); err != nil {
		return err
	}
	return made.follow(ctx, func(token string) error { return stream.Send(&agentv1.JoinResponse{Token: token}) })
}

// History returns the conversation.
func (a *Assistant) History(context.Context, *agentv1.HistoryRequest) (*agentv1.HistoryResponse, error) {
	return &agentv1.HistoryResponse{Messages: a.State().GetMessages()}, nil
}

// Cancel ends the answer that is being made.
func (a *Assistant) Cancel(context.Context, *agentv1.CancelRequest) (*agentv1.CancelResponse, error) {
	made := a.current()
	if made != nil {
		made.cancel()
	}
	return &agentv1.CancelResponse{Canceled: made != nil}, nil
}

// onWake makes the answer that a stop of the server has interrupted.
func (a *Assistant) onWake(context.Context) error {
	if a.answering() {
		a.begin()
	}
	return nil
}

// onConnect sends what there is of an answer, to which the events that follow add.
func (a *Assistant) onConnect(_ context.Context, conn *actors.Conn) error {
	if made := a.current(); made != nil {
		a.SendTo(conn, tokenAdded(made.number, made.text()))
	}
	return nil
}

// register adds the assistant, which answers by model.
func register(registry *actors.Registry, model Model) {
	actors.Register(registry, agentv1connect.RegisterAssistantHandler, func() *Assistant { return &Assistant{model: model} },
		actors.OnWake((*Assistant).onWake), actors.OnConnect((*Assistant).onConnect))
}

func main() {
	registry := actors.NewRegistry()
	register(registry, &Parrot{Pause: 80 * time.Millisecond})
	server.Main(registry)
}
