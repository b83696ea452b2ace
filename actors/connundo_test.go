// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"testing"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	"google.golang.org/protobuf/proto"
)

// room does in each Send what the test says.
type room struct {
	chatv1connect.UnimplementedChatRoomHandler
	actors.Actor[*chatv1.ChatRoomState, *chatv1.ChatRoomEvent]

	do *func(ctx context.Context, r *room, member *chatv1.ChatMember, conn *actors.Conn) error
}

func (r *room) Send(ctx context.Context, _ *chatv1.SendRequest) (*chatv1.SendResponse, error) {
	return new(chatv1.SendResponse), (*r.do)(ctx, r, actors.ConnState[*chatv1.ChatMember](ctx), actors.ConnOf(ctx))
}

// opener is a sink that gets the token of its connection.
type opener chan string

func (o opener) Send(frame *actors.Frame, _ bool) error {
	encoded, err := frame.Encoded(binary{})
	if err != nil {
		return err
	}
	event := new(chatv1.ChatRoomEvent)
	if err := proto.Unmarshal(encoded, event); err != nil {
		return err
	}
	if opened := event.GetInfo().GetOpened(); opened != nil {
		o <- opened.GetConnection()
	}
	return nil
}

// TestP9_AFailedTurnLeavesConnectionsAsTheyWere changes the state and the tags of the
// caller's connection and of another one in turns that fail in every way.
func TestP9_AFailedTurnLeavesConnectionsAsTheyWere(t *testing.T) {
	t.Parallel()
	s := storetest.NewFaulty(memory.New(memory.Options{}))
	var do func(context.Context, *room, *chatv1.ChatMember, *actors.Conn) error
	registry := actors.NewRegistry()
	actors.Register(registry, chatv1connect.RegisterChatRoomHandler, func() *room { return &room{do: &do} },
		actors.CreateConnState(func(_ *room, _ context.Context, req *chatv1.SubscribeRequest) (*chatv1.ChatMember, error) {
			return &chatv1.ChatMember{User: req.GetUser()}, nil
		}))
	host, err := actors.NewHost(actors.Config{Registry: registry, Store: s, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	k := &kit{Host: host, tb: t}
	t.Cleanup(k.stop)
	methods := make(map[string]*actors.Method)
	for _, m := range host.Methods() {
		methods[m.Spec.Procedure] = m
	}
	call := func(procedure string, request proto.Message) *actors.Call {
		return &actors.Call{
			Target: actors.Target{Address: store.Address{Namespace: "default", Type: chatv1connect.ChatRoomName, Key: "r"}},
			Method: methods[procedure], Request: request, Codec: binary{},
		}
	}
	var mine string
	for _, user := range []string{"bob", "ada"} {
		sub, err := host.Subscribe(t.Context(), call(chatv1connect.ChatRoomSubscribeProcedure, &chatv1.SubscribeRequest{User: user}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		opened, ended := make(opener, 1), make(chan error, 1)
		go func() { ended <- sub.Feed(ctx, opened) }()
		defer func() {
			cancel()
			<-ended
			sub.Close()
		}()
		mine = await(t, "opened frame", opened)
	}
	send := func(f func(context.Context, *room, *chatv1.ChatMember, *actors.Conn) error) error {
		do = f
		c := call(chatv1connect.ChatRoomSendProcedure, &chatv1.SendRequest{Text: "x"})
		c.Conn = mine
		_, err := host.Call(t.Context(), c)
		return err
	}
	set := func(name string, tags ...string) func(context.Context, *room, *chatv1.ChatMember, *actors.Conn) error {
		return func(_ context.Context, r *room, member *chatv1.ChatMember, conn *actors.Conn) error {
			r.State().Posted++
			member.User = name
			conn.SetTags(tags...)
			other := r.Conns()[0]
			actors.StateOf[*chatv1.ChatMember](other).User = name + "'s other"
			other.SetTags(tags...)
			return nil
		}
	}
	if err := send(set("one", "first")); err != nil {
		t.Fatal(err)
	}
	then := func(f func()) func(context.Context, *room, *chatv1.ChatMember, *actors.Conn) error {
		return func(ctx context.Context, r *room, member *chatv1.ChatMember, conn *actors.Conn) error {
			_ = set("two", "second", "third")(ctx, r, member, conn)
			f()
			return errors.New("no")
		}
	}
	for name, fail := range map[string]func() error{
		"error":  func() error { return send(then(func() {})) },
		"panic":  func() error { return send(then(func() { panic("no") })) },
		"exit":   func() error { return send(then(runtime.Goexit)) },
		"commit": func() error { s.FailCommit(errors.New("disk")); return send(set("two", "second")) },
	} {
		if err := fail(); err == nil {
			t.Errorf("%s: the turn did not fail", name)
		}
		if err := send(func(_ context.Context, r *room, member *chatv1.ChatMember, conn *actors.Conn) error {
			other := r.Conns()[0]
			if member.GetUser() != "one" || !slices.Equal(conn.Tags(), []string{"first"}) ||
				actors.StateOf[*chatv1.ChatMember](other).GetUser() != "one's other" || !slices.Equal(other.Tags(), []string{"first"}) {
				t.Errorf("%s: the connections are %v %v and %v %v", name, member, conn.Tags(), actors.StateOf[*chatv1.ChatMember](other), other.Tags())
			}
			return nil
		}); err != nil {
			t.Errorf("%s: the turn after it: %v", name, err)
		}
	}
}
