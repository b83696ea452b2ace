// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/actorstest"
	troupe "github.com/troupe-dev/troupe/clients/go"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
)

// enter makes a server and Ada's client of one of its rooms.
func enter(t *testing.T) (*actorstest.Server, chatv1connect.ChatRoomClient) {
	t.Helper()
	registry := actors.NewRegistry()
	register(registry)
	srv := actorstest.New(t, registry)
	return srv, chatv1connect.NewChatRoomClient(srv.Bind(troupe.Address{
		Key: []string{"acme", "general"}, Params: &chatv1.SubscribeRequest{User: "Ada"},
	}))
}

func say(t *testing.T, room chatv1connect.ChatRoomClient, text string) error {
	t.Helper()
	_, err := room.Send(t.Context(), &chatv1.SendRequest{Text: text})
	return err
}

func wantSaid(t *testing.T, room chatv1connect.ChatRoomClient, want ...string) {
	t.Helper()
	history, err := room.History(t.Context(), new(chatv1.HistoryRequest))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, message := range history.GetMessages() {
		got = append(got, message.GetAuthor()+": "+message.GetText())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the room has %q, want %q", got, want)
	}
}

// A reminder is a schedule: it comes at its time even when the server was killed
// between.
func TestRemind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, room := enter(t)
		if err := say(t, room, "/remind 10s the tea is ready"); err != nil {
			t.Fatal(err)
		}
		if err := say(t, room, "/remind 3600 go home"); err != nil {
			t.Fatal(err)
		}
		said := []string{"Ada: /remind 10s the tea is ready", "Ada: /remind 3600 go home"}
		wantSaid(t, room, said...)
		srv.Restart()
		<-time.After(9 * time.Second)
		synctest.Wait()
		wantSaid(t, room, said...)
		<-time.After(2 * time.Second)
		synctest.Wait()
		said = append(said, "Ada: Reminder: the tea is ready")
		wantSaid(t, room, said...)
		<-time.After(time.Hour)
		synctest.Wait()
		wantSaid(t, room, append(said, "Ada: Reminder: go home")...)
	})
}

func TestBadReminders(t *testing.T) {
	t.Parallel()
	_, room := enter(t)
	for _, text := range []string{"/remind tea", "/remind 10s", "/remind -1s tea", "/remind 0 tea", "/remind 721h tea", "/remind 10x tea"} {
		err := say(t, room, text)
		if connect.CodeOf(err) != connect.CodeInvalidArgument || troupe.Reason(err) != "bad_reminder" {
			t.Errorf("%q is answered with %v", text, err)
		}
	}
	wantSaid(t, room) // a command that fails posts nothing
}

func TestTopic(t *testing.T) {
	t.Parallel()
	srv, room := enter(t)
	want := func(topic string) {
		t.Helper()
		reply, err := room.Topic(t.Context(), new(chatv1.TopicRequest))
		if err != nil || reply.GetTopic() != topic {
			t.Errorf("the topic is %q, %v, want %q", reply.GetTopic(), err, topic)
		}
	}
	want("")
	stream, err := room.Subscribe(t.Context(), &chatv1.SubscribeRequest{User: "Bob"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // opened, and that Bob has joined
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := room.SetTopic(t.Context(), &chatv1.SetTopicRequest{Topic: "tea"}); err != nil {
		t.Fatal(err)
	}
	if event, err := stream.Receive(); err != nil || event.GetTopicChanged().GetTopic() != "tea" {
		t.Errorf("the event is %v, %v", event, err)
	}
	_ = stream.Close()
	srv.Restart()
	want("tea")
}

func TestOnlySomebodyCanSend(t *testing.T) {
	t.Parallel()
	srv, _ := enter(t)
	err := say(t, chatv1connect.NewChatRoomClient(srv.GetOrCreate("acme", "general")), "hello")
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || troupe.Reason(err) != "no_author" {
		t.Errorf("nobody says hello: %v", err)
	}
}
