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
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	"google.golang.org/protobuf/proto"
)

type binary struct{}

func (binary) Name() string { return "proto" }

func (binary) Append(dst []byte, message proto.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(dst, message)
}

func TestRemind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := actors.NewRegistry()
		actors.Register(registry, chatv1connect.RegisterChatRoomHandler, func() *ChatRoom { return new(ChatRoom) },
			actors.CreateConnState((*ChatRoom).createConnState))
		host, err := actors.NewHost(actors.Config{Registry: registry, Store: memory.New(memory.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = host.Shutdown(t.Context()) }()
		params, err := proto.Marshal(&chatv1.SubscribeRequest{User: "Ada"})
		if err != nil {
			t.Fatal(err)
		}
		call := func(procedure string, request proto.Message) ([]byte, error) {
			for _, m := range host.Methods() {
				if m.Spec.Procedure == procedure {
					reply, err := host.Call(t.Context(), &actors.Call{
						Target: actors.Target{Address: store.Address{Namespace: "default", Type: chatv1connect.ChatRoomName, Key: "acme/general"}},
						Method: m, Request: request, Params: params, Codec: binary{},
					})
					return reply.Body, err
				}
			}
			panic("no such procedure: " + procedure)
		}
		say := func(text string) error {
			_, err := call(chatv1connect.ChatRoomSendProcedure, &chatv1.SendRequest{Text: text})
			return err
		}
		said := func() (texts []string) {
			body, err := call(chatv1connect.ChatRoomHistoryProcedure, new(chatv1.HistoryRequest))
			history := new(chatv1.HistoryResponse)
			if err != nil || proto.Unmarshal(body, history) != nil {
				t.Fatalf("History: %v", err)
			}
			for _, message := range history.GetMessages() {
				texts = append(texts, message.GetAuthor()+": "+message.GetText())
			}
			return texts
		}
		if err := say("/remind 10 the tea is ready"); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"/remind tea", "/remind 10", "/remind -1 tea", "/remind 1000000000 tea"} {
			if code := connect.CodeOf(say(text)); code != connect.CodeInvalidArgument {
				t.Errorf("%q is answered with %v", text, code)
			}
		}
		want := []string{"Ada: /remind 10 the tea is ready"}
		<-time.After(9 * time.Second)
		if got := said(); !slices.Equal(got, want) {
			t.Errorf("before its time: %q", got)
		}
		<-time.After(time.Second)
		synctest.Wait()
		if got := said(); !slices.Equal(got, append(want, "Ada: Reminder: the tea is ready")) {
			t.Errorf("after its time: %q", got)
		}
	})
}
