// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/troupe-dev/troupe/actors"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
)

// burst is how many events one call publishes, in one turn.
const burst = 64

// user is who is said to type; it gives an event a usual size.
const user = "somebody-or-other"

// room is an actor that publishes much and keeps nothing, so that fan-out can be
// measured by itself.
type room struct {
	chatv1connect.UnimplementedChatRoomHandler
	actors.Actor[*chatv1.ChatRoomState, *chatv1.ChatRoomEvent]
}

// SetTyping publishes a burst of ephemeral events, or one if nobody is typing.
func (r *room) SetTyping(_ context.Context, request *chatv1.SetTypingRequest) (*chatv1.SetTypingResponse, error) { //nolint:unparam // the service says so
	for range published(request) {
		r.Broadcast(&chatv1.ChatRoomEvent{Event: &chatv1.ChatRoomEvent_MemberTyping{
			MemberTyping: &chatv1.MemberTyping{User: user, Typing: request.Typing},
		}})
	}
	return &chatv1.SetTypingResponse{}, nil
}

// Send publishes a burst of durable events.
func (r *room) Send(context.Context, *chatv1.SendRequest) (*chatv1.SendResponse, error) { //nolint:unparam // the service says so
	for range burst {
		r.Broadcast(&chatv1.ChatRoomEvent{Event: &chatv1.ChatRoomEvent_MemberJoined{
			MemberJoined: &chatv1.MemberJoined{User: user},
		}})
	}
	return &chatv1.SendResponse{}, nil
}

// published is how many events a call of SetTyping publishes.
func published(request *chatv1.SetTypingRequest) int {
	if request.Typing {
		return burst
	}
	return 1
}
