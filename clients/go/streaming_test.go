// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	troupe "github.com/troupe-dev/troupe/clients/go"
	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
	"github.com/troupe-dev/troupe/gen/go/agent/v1/agentv1connect"
	"github.com/troupe-dev/troupe/server"
)

type talkingActor struct {
	agentv1connect.UnimplementedAssistantHandler
	actors.Actor[*agentv1.AssistantState, *agentv1.AssistantEvent]

	asked *atomic.Int32
}

// Ask repeats the words of the question, and fails at the word "fail" in a way that
// invites to try again.
func (a *talkingActor) Ask(ctx context.Context, req *agentv1.AskRequest, stream agentv1connect.AssistantAskServerStream) error {
	a.asked.Add(1)
	if err := a.Turn(ctx, func(context.Context) error { a.State().Count++; return nil }); err != nil {
		return err
	}
	for word := range strings.FieldsSeq(req.GetText()) {
		if word == "fail" {
			return actors.Errorf(connect.CodeUnavailable, "later", "try again")
		}
		if err := stream.Send(&agentv1.AskResponse{Token: word}); err != nil {
			return err
		}
	}
	return nil
}

// TestStreamingActions calls one through a handle's stock client, over every
// protocol. Streams are never sent again.
func TestStreamingActions(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	registry := actors.NewRegistry()
	actors.Register(registry, agentv1connect.RegisterAssistantHandler, func() *talkingActor { return &talkingActor{asked: &asked} })
	s, err := server.New(server.Config{Registry: registry, Store: memory.New(memory.Options{}), Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	defer func() {
		h.Close()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	for name, options := range map[string][]troupe.Option{
		"connect":  nil,
		"json":     {troupe.WithConnectOptions(connecthttp.WithProtoJSON())},
		"grpc web": {troupe.WithConnectOptions(connecthttp.WithGRPCWeb())},
	} {
		client := troupe.Dial(h.URL, options...)
		defer client.Close()
		assistant := agentv1connect.NewAssistantClient(client.GetOrCreate(name))
		for text, want := range map[string]struct {
			heard string
			code  connect.Code
		}{
			"one two":  {"one two", 0},
			"one fail": {"one", connect.CodeUnavailable},
			"fail":     {"", connect.CodeUnavailable},
		} {
			asked.Store(0)
			heard, err := hear(t, assistant, text)
			if heard != want.heard || want.code == 0 && err != nil || want.code != 0 && connect.CodeOf(err) != want.code {
				t.Errorf("%s: %q: heard %q, %v", name, text, heard, err)
			}
			if got := asked.Load(); got != 1 {
				t.Errorf("%s: %q was asked %d times", name, text, got)
			}
		}
	}
}

// hear reads the answer to a question.
func hear(t *testing.T, assistant agentv1connect.AssistantClient, text string) (string, error) {
	t.Helper()
	stream, err := assistant.Ask(t.Context(), &agentv1.AskRequest{Text: text})
	if err != nil {
		return "", err
	}
	defer func() { _ = stream.Close() }()
	var words []string
	for {
		message, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			words = append(words, message.GetToken())
			continue
		}
		return strings.Join(words, " "), err
	}
}
