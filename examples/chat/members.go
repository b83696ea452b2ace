// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
)

// Members returns who is connected, each user once.
func (r *ChatRoom) Members(context.Context, *chatv1.MembersRequest) (*chatv1.MembersResponse, error) {
	return &chatv1.MembersResponse{Users: r.users()}, nil
}

// SetTyping tells the others whether the connection's user is typing.
func (r *ChatRoom) SetTyping(ctx context.Context, req *chatv1.SetTypingRequest) (*chatv1.SetTypingResponse, error) {
	conn := actors.ConnOf(ctx)
	if conn == nil {
		return nil, actors.Errorf(connect.CodeFailedPrecondition, "no_connection", "only a connection can be typing")
	}
	r.BroadcastExcept(conn, &chatv1.ChatRoomEvent{Event: &chatv1.ChatRoomEvent_MemberTyping{
		MemberTyping: &chatv1.MemberTyping{User: userOf(conn), Typing: req.GetTyping()},
	}})
	return &chatv1.SetTypingResponse{}, nil
}

func (r *ChatRoom) createConnState(_ context.Context, params *chatv1.SubscribeRequest) (*chatv1.ChatMember, error) {
	return &chatv1.ChatMember{User: params.GetUser()}, nil
}

func (r *ChatRoom) onConnect(_ context.Context, conn *actors.Conn) error {
	if r.connections(userOf(conn)) == 1 {
		// To the member too: who reads the members first and then connects sees itself come.
		r.Broadcast(&chatv1.ChatRoomEvent{Event: &chatv1.ChatRoomEvent_MemberJoined{
			MemberJoined: &chatv1.MemberJoined{User: userOf(conn)},
		}})
	}
	return nil
}

func (r *ChatRoom) onDisconnect(_ context.Context, conn *actors.Conn) error {
	if r.connections(userOf(conn)) == 0 {
		r.Broadcast(&chatv1.ChatRoomEvent{Event: &chatv1.ChatRoomEvent_MemberLeft{
			MemberLeft: &chatv1.MemberLeft{User: userOf(conn)},
		}})
	}
	return nil
}

// users returns the connected users in order of name, each once.
func (r *ChatRoom) users() []string {
	var users []string
	for _, conn := range r.Conns() {
		users = append(users, userOf(conn))
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// connections returns how many connections a user has open: one for each tab.
func (r *ChatRoom) connections(user string) int {
	n := 0
	for _, conn := range r.Conns() {
		if userOf(conn) == user {
			n++
		}
	}
	return n
}

func userOf(conn *actors.Conn) string { return actors.StateOf[*chatv1.ChatMember](conn).GetUser() }
