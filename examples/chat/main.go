// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Chat is a chat server with a page: one actor is one room.
package main

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	"github.com/troupe-dev/troupe/server"
)

// defaultHistory is how many messages History returns unless asked.
const defaultHistory = 100

//go:embed dist
var dist embed.FS

// ChatRoom implements chat.v1.ChatRoom. Its key is [org, room].
type ChatRoom struct {
	chatv1connect.UnimplementedChatRoomHandler
	actors.Actor[*chatv1.ChatRoomState, *chatv1.ChatRoomEvent]
}

// Send posts a message in the name of the connection's user.
func (r *ChatRoom) Send(ctx context.Context, req *chatv1.SendRequest) (*chatv1.SendResponse, error) {
	user := actors.ConnState[*chatv1.ChatMember](ctx).GetUser()
	if user == "" {
		return nil, actors.Errorf(connect.CodeFailedPrecondition, "no_author", "join the room, or say who you are, before you send")
	}
	message := r.post(user, req.GetText())
	if err := r.remind(user, req.GetText()); err != nil {
		return nil, err
	}
	return &chatv1.SendResponse{Message: message}, nil
}

// History returns the newest messages, newest last.
func (r *ChatRoom) History(_ context.Context, req *chatv1.HistoryRequest) (*chatv1.HistoryResponse, error) {
	limit := int(req.GetLimit())
	if limit == 0 {
		limit = defaultHistory
	}
	messages := r.State().GetMessages()
	return &chatv1.HistoryResponse{Messages: messages[max(0, len(messages)-limit):]}, nil
}

// topicRow is the row of the topic. It changes seldom: kept in the state, it would be
// written again with every message.
var topicRow = []byte("topic")

// Topic returns what the room is about.
func (r *ChatRoom) Topic(ctx context.Context, _ *chatv1.TopicRequest) (*chatv1.TopicResponse, error) {
	topic, _, err := r.KV().Get(ctx, topicRow)
	if err != nil {
		return nil, err
	}
	return &chatv1.TopicResponse{Topic: string(topic)}, nil
}

// SetTopic says what the room is about.
func (r *ChatRoom) SetTopic(_ context.Context, req *chatv1.SetTopicRequest) (*chatv1.SetTopicResponse, error) {
	if err := r.KV().Put(topicRow, []byte(req.GetTopic())); err != nil {
		return nil, err
	}
	r.Broadcast(&chatv1.ChatRoomEvent{Event: &chatv1.ChatRoomEvent_TopicChanged{
		TopicChanged: &chatv1.TopicChanged{Topic: req.GetTopic()},
	}})
	return &chatv1.SetTopicResponse{}, nil
}

// register adds the room with its hooks.
func register(registry *actors.Registry) {
	actors.Register(registry, chatv1connect.RegisterChatRoomHandler, func() *ChatRoom { return new(ChatRoom) },
		actors.CreateConnState((*ChatRoom).createConnState),
		actors.OnConnect((*ChatRoom).onConnect),
		actors.OnDisconnect((*ChatRoom).onDisconnect))
}

// options serves the page, to everybody or behind the password of a file.
func options(passwordFile string) ([]server.Option, error) {
	content, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, err
	}
	page := http.FileServerFS(content)
	if passwordFile == "" {
		return []server.Option{server.WithHandler("/", page)}, nil
	}
	secret, err := readPasswords(passwordFile)
	if err != nil {
		return nil, err
	}
	return []server.Option{server.WithHandler("/", secret.guard(page)), server.Authenticate(secret.authenticate)}, nil
}

func main() {
	registry := actors.NewRegistry()
	register(registry)
	options, err := options(os.Getenv(passwordVariable))
	if err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(2) // as for a wrong flag
	}
	server.Main(registry, options...)
}
