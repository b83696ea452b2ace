// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/google/go-cmp/cmp"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
	"github.com/troupe-dev/troupe/gen/go/agent/v1/agentv1connect"
	"github.com/troupe-dev/troupe/server"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a model that says what its test gives it, and ends when the test
// closes words.
type scripted struct{ words chan string }

func (s *scripted) Answer(ctx context.Context, _ []*agentv1.Message, emit func(token string) error) error {
	for {
		select {
		case word, ok := <-s.words:
			if !ok {
				return nil
			}
			if err := emit(word); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// serve starts a server, which stop ends.
func serve(t *testing.T, s store.Store, model Model) (client agentv1connect.AssistantClient, stop func()) {
	t.Helper()
	registry := actors.NewRegistry()
	register(registry, model)
	srv, err := server.New(server.Config{Registry: registry, Store: s, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	transport := &http.Transport{}
	keyed := func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			ctx, info := connect.NewClientContext(ctx)
			info.RequestHeader().Set("actor-key", "ada/first")
			return next(ctx, spec)
		}
	}
	return agentv1connect.NewAssistantClient(connect.NewClient(
			connecthttp.NewTransport(&http.Client{Transport: transport}, "http://"+listener.Addr().String()), keyed)), func() {
			transport.CloseIdleConnections()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := errors.Join(srv.Shutdown(ctx), <-served); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
}

// stream is what Ask and Join return.
type stream[M interface{ GetToken() string }] interface {
	Receive() (M, error)
	Close() error
}

func begin[M interface{ GetToken() string }, S stream[M]](t *testing.T, s S, err error) S {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// next reads one token.
func next[M interface{ GetToken() string }](t *testing.T, s stream[M]) string {
	t.Helper()
	message, err := s.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return message.GetToken()
}

// rest reads the tokens up to the end.
func rest[M interface{ GetToken() string }](t *testing.T, s stream[M]) string {
	t.Helper()
	var text strings.Builder
	for {
		message, err := s.Receive()
		if errors.Is(err, io.EOF) {
			return text.String()
		} else if err != nil {
			t.Fatal(err)
		}
		text.WriteString(message.GetToken())
	}
}

func history(t *testing.T, client agentv1connect.AssistantClient) []string {
	t.Helper()
	reply, err := client.History(t.Context(), new(agentv1.HistoryRequest))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, message := range reply.GetMessages() {
		text := message.GetText()
		if message.GetCanceled() {
			text += " (canceled)"
		}
		texts = append(texts, text)
	}
	return texts
}

func wantHistory(t *testing.T, client agentv1connect.AssistantClient, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, history(t, client)); diff != "" {
		t.Errorf("the conversation (-want +got):\n%s", diff)
	}
}

func TestAskAndRemember(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	client, stop := serve(t, s, new(Parrot))
	ask, err := client.Ask(t.Context(), &agentv1.AskRequest{Text: "Hello there"})
	if got := rest(t, begin[*agentv1.AskResponse](t, ask, err)); got != "You said: Hello there" {
		t.Errorf("the answer is %q", got)
	}
	stop()
	client, stop = serve(t, s.Reopen(), new(Parrot))
	defer stop()
	ask, err = client.Ask(t.Context(), &agentv1.AskRequest{Text: "Remind me"})
	if got := rest(t, begin[*agentv1.AskResponse](t, ask, err)); got != "So far you have said: Hello there." {
		t.Errorf("the answer is %q", got)
	}
	wantHistory(t, client, "Hello there", "You said: Hello there", "Remind me", "So far you have said: Hello there.")
}

// TestASecondClientJoinsTheAnswer has one join by stream and one by subscription,
// and the one who asked leave.
func TestASecondClientJoinsTheAnswer(t *testing.T) {
	t.Parallel()
	model := &scripted{words: make(chan string)}
	client, stop := serve(t, memory.New(memory.Options{}), model)
	defer stop()
	asking, leave := context.WithCancel(t.Context())
	ask, err := client.Ask(asking, &agentv1.AskRequest{Text: "?"})
	begin[*agentv1.AskResponse](t, ask, err)
	model.words <- "one "
	if got := next[*agentv1.AskResponse](t, ask); got != "one " {
		t.Fatalf("the first token is %q", got)
	}
	second, err := client.Ask(t.Context(), &agentv1.AskRequest{Text: "?"})
	if _, err = begin[*agentv1.AskResponse](t, second, err).Receive(); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("a second question: %v", err)
	}
	join, err := client.Join(t.Context(), new(agentv1.JoinRequest))
	begin[*agentv1.JoinResponse](t, join, err)
	if got := next[*agentv1.JoinResponse](t, join); got != "one " {
		t.Errorf("who joins hears %q first", got)
	}
	sub, err := client.Subscribe(t.Context(), new(agentv1.SubscribeRequest))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Close() }()
	heard := func() string {
		for {
			event, err := sub.Receive()
			switch {
			case err != nil:
				t.Fatal(err)
			case event.GetTokenAdded() != nil:
				return event.GetTokenAdded().GetToken()
			case event.GetMessageAdded() != nil:
				return "whole: " + event.GetMessageAdded().GetMessage().GetText()
			}
		}
	}
	if got := heard(); got != "one " {
		t.Errorf("who subscribes hears %q first", got)
	}
	leave()
	_ = ask.Close()
	model.words <- "two"
	close(model.words)
	if got := rest[*agentv1.JoinResponse](t, join); got != "two" {
		t.Errorf("who has joined hears %q then", got)
	}
	if got := heard() + ", " + heard(); got != "two, whole: one two" {
		t.Errorf("who has subscribed hears %q then", got)
	}
	wantHistory(t, client, "?", "one two")
	join, err = client.Join(t.Context(), new(agentv1.JoinRequest))
	if _, err = begin[*agentv1.JoinResponse](t, join, err).Receive(); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("joining no answer: %v", err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	model := &scripted{words: make(chan string)}
	client, stop := serve(t, memory.New(memory.Options{}), model)
	defer stop()
	ask, err := client.Ask(t.Context(), &agentv1.AskRequest{Text: "?"})
	begin[*agentv1.AskResponse](t, ask, err)
	model.words <- "one"
	next[*agentv1.AskResponse](t, ask)
	for _, want := range []bool{true, false} {
		reply, err := client.Cancel(t.Context(), new(agentv1.CancelRequest))
		if err != nil || reply.GetCanceled() != want {
			t.Errorf("Cancel: %v, %v; want %t", reply, err, want)
		}
		if want {
			if got := rest[*agentv1.AskResponse](t, ask); got != "" {
				t.Errorf("after the cancellation comes %q", got)
			}
		}
	}
	wantHistory(t, client, "?", "one (canceled)")
}

// TestAnAnswerGoesOnAfterARestart stops the server in the middle of an answer.
func TestAnAnswerGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	model := &scripted{words: make(chan string)}
	client, stop := serve(t, s, model)
	ask, err := client.Ask(t.Context(), &agentv1.AskRequest{Text: "Hello"})
	begin[*agentv1.AskResponse](t, ask, err)
	model.words <- "one"
	next[*agentv1.AskResponse](t, ask)
	ended := make(chan error, 1)
	go func() { _, err := ask.Receive(); ended <- err }()
	stop()
	if err := <-ended; connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("the stream ended with %v", err)
	}
	again := &scripted{words: make(chan string)}
	client, stop = serve(t, s.Reopen(), again)
	defer stop()
	wantHistory(t, client, "Hello") // wakes it
	join, err := client.Join(t.Context(), new(agentv1.JoinRequest))
	begin[*agentv1.JoinResponse](t, join, err)
	again.words <- "two"
	close(again.words)
	if got := rest[*agentv1.JoinResponse](t, join); got != "two" {
		t.Errorf("the answer is %q", got)
	}
	wantHistory(t, client, "Hello", "two")
}
