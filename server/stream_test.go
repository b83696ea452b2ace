// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/troupe-dev/troupe/actors"
	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
	"github.com/troupe-dev/troupe/gen/go/agent/v1/agentv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// talker streams what its questions say: words, errors and waits.
type talker struct {
	agentv1connect.UnimplementedAssistantHandler
	actors.Actor[*agentv1.AssistantState, *agentv1.AssistantEvent]

	left chan error // gets what ended a wait
}

func (a *talker) Ask(ctx context.Context, req *agentv1.AskRequest, stream agentv1connect.AssistantAskServerStream) error {
	for word := range strings.FieldsSeq(req.GetText()) {
		switch word {
		case "refuse":
			return actors.Errorf(connect.CodeFailedPrecondition, "refused", "refused as asked")
		case "fail":
			return errors.New("the secret of the talker")
		case "panic":
			panic("the secret of the talker")
		case "wait":
			<-ctx.Done()
			a.left <- context.Cause(ctx)
			return ctx.Err()
		case "count":
			if err := a.Turn(ctx, func(context.Context) error { a.State().Count++; return nil }); err != nil {
				return err
			}
			continue
		case "total":
			if err := a.ReadTurn(ctx, func(context.Context) error { word = fmt.Sprint(a.State().GetCount()); return nil }); err != nil {
				return err
			}
		case "huge":
			word = strings.Repeat("x", 2000)
		}
		if err := stream.Send(&agentv1.AskResponse{Token: word}); err != nil {
			return err
		}
	}
	return nil
}

// setupTalkers starts a server of talkers.
func setupTalkers(t *testing.T, change func(*Config), options ...actors.Option) (*bundle, *talker) {
	t.Helper()
	first := &talker{left: make(chan error, 100)}
	return setup(t, func(cfg *Config) {
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, agentv1connect.RegisterAssistantHandler, func() *talker { return &talker{left: first.left} }, options...)
		if change != nil {
			change(cfg)
		}
	}), first
}

// hear reads a stream to its end.
func hear(ctx context.Context, client agentv1connect.AssistantClient, text string) (string, error) {
	stream, err := client.Ask(ctx, &agentv1.AskRequest{Text: text})
	if err != nil {
		return "", err
	}
	defer func() { _ = stream.Close() }()
	var words []string
	for {
		message, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return strings.Join(words, " "), nil
		} else if err != nil {
			return strings.Join(words, " "), err
		}
		words = append(words, message.GetToken())
	}
}

// assertFailure is assertError for a call that may have had an effect.
func assertFailure(t *testing.T, err error, code connect.Code, reason string, outcome troupev1.Outcome_Outcome) {
	t.Helper()
	wire, ok := errorAs(err)
	if !ok || wire.Code() != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	var reasons []string
	var outcomes []troupev1.Outcome_Outcome
	for _, detail := range wire.Details() {
		message, err := connectproto.UnmarshalErrorDetail(detail)
		if err != nil {
			t.Fatal(err)
		}
		switch m := message.(type) {
		case *errdetails.ErrorInfo:
			reasons = append(reasons, m.GetReason())
		case *troupev1.Outcome:
			outcomes = append(outcomes, m.GetOutcome())
		}
	}
	if !slices.Equal(reasons, []string{reason}) || !slices.Equal(outcomes, []troupev1.Outcome_Outcome{outcome}) {
		t.Errorf("details of %v: %v %v, want %s %v", err, reasons, outcomes, reason, outcome)
	}
}

func TestStreamingActionsOverEveryProtocol(t *testing.T) {
	t.Parallel()
	b, _ := setupTalkers(t, func(cfg *Config) { cfg.Limits.ResponseBytes = 1500 })
	for name, client := range b.talkerClients() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, info := at(t.Context(), "actor-key", name)
			if got, err := hear(ctx, client, "one count two count total"); err != nil || got != "one two 2" {
				t.Fatalf("heard %q, %v", got, err)
			}
			if info.ResponseHeader().Get("actor-id") == "" || info.ResponseHeader().Get("actor-created") != "true" {
				t.Errorf("headers of a creation: %v", info.ResponseHeader())
			}
			ask := func(text string) (string, error) {
				ctx, _ := at(t.Context(), "actor-key", name)
				return hear(ctx, client, text)
			}
			for text, want := range map[string]struct {
				code    connect.Code
				reason  string
				outcome troupev1.Outcome_Outcome
			}{
				"three refuse":       {connect.CodeFailedPrecondition, "refused", troupev1.Outcome_OUTCOME_NOT_EXECUTED},
				"three count refuse": {connect.CodeFailedPrecondition, "refused", troupev1.Outcome_OUTCOME_COMMITTED},
				"three fail":         {connect.CodeInternal, "internal", troupev1.Outcome_OUTCOME_NOT_EXECUTED},
				"three panic":        {connect.CodeInternal, "internal", troupev1.Outcome_OUTCOME_NOT_EXECUTED},
				"three huge":         {connect.CodeResourceExhausted, "reply_too_large", troupev1.Outcome_OUTCOME_NOT_EXECUTED},
			} {
				got, err := ask(text)
				if got != "three" {
					t.Errorf("%s: heard %q", text, got)
				}
				assertFailure(t, err, want.code, want.reason, want.outcome)
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("%s: the text left the server: %v", text, err)
				}
			}
			if got, err := ask("total"); err != nil || got != "3" {
				t.Errorf("heard %q, %v", got, err)
			}
			_, err := ask("") // the schema wants a text
			assertError(t, err, connect.CodeInvalidArgument, "invalid_message", "troupe.v1")
			ctx, _ = at(t.Context(), "actor-key", name, "idempotency-key", "k")
			_, err = hear(ctx, client, "one")
			assertError(t, err, connect.CodeInvalidArgument, "bad_idempotency_key", "troupe.v1")
			ctx, _ = at(t.Context(), "actor-key", "nobody", "actor-resolve", "get")
			_, err = hear(ctx, client, "one")
			assertError(t, err, connect.CodeNotFound, "actor_not_found", "troupe.v1")
		})
	}
}

// TestAStreamingActionEndsWhenItsCallerLeaves is about cancellation, which a turn
// does not get.
func TestAStreamingActionEndsWhenItsCallerLeaves(t *testing.T) {
	t.Parallel()
	b, talker := setupTalkers(t, nil)
	for name, client := range b.talkerClients() {
		ctx, _ := at(t.Context(), "actor-key", name)
		ctx, cancel := context.WithCancel(ctx)
		stream, err := client.Ask(ctx, &agentv1.AskRequest{Text: "one wait"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
		cancel()
		select {
		case cause := <-talker.left:
			if !errors.Is(cause, context.Canceled) {
				t.Errorf("%s: the action ended with %v", name, cause)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the action goes on without its caller", name)
		}
		_ = stream.Close()
	}
}

func TestAStreamingActionEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	b, _ := setupTalkers(t, nil, actors.StreamTimeout(50*time.Millisecond))
	for name, client := range b.talkerClients() {
		ctx, _ := at(t.Context(), "actor-key", name)
		_, err := hear(ctx, client, "wait")
		assertFailure(t, err, connect.CodeDeadlineExceeded, "stream_timeout", troupev1.Outcome_OUTCOME_NOT_EXECUTED)
	}
}

func TestShutdownEndsStreamingActions(t *testing.T) {
	t.Parallel()
	b, _ := setupTalkers(t, nil)
	ended := make(chan error, 10)
	clients := b.talkerClients()
	for name, client := range clients {
		ctx, _ := at(t.Context(), "actor-key", name)
		stream, err := client.Ask(ctx, &agentv1.AskRequest{Text: "one wait"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stream.Close() })
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
		go func() { _, err := stream.Receive(); ended <- err }()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := b.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for range clients {
		assertError(t, <-ended, connect.CodeUnavailable, "shutting_down", "troupe.v1")
	}
}

func TestAStreamingActionByURL(t *testing.T) {
	t.Parallel()
	b, _ := setupTalkers(t, nil)
	header := http.Header{"Content-Type": {"application/connect+json"}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		b.url+"/actors/default/org/a/@/agent.v1.Assistant/Ask", strings.NewReader(string(envelope([]byte(`{"text":"one two"}`)))))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	response, err := b.h1.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := string(envelope([]byte(`{"token":"one"}`))) + string(envelope([]byte(`{"token":"two"}`))) + "\x02\x00\x00\x00\x02{}"
	if got := string(data); got != want {
		t.Errorf("the body is %q, want %q", got, want)
	}
	ctx, _ := at(t.Context(), "actor-key", "org/a", "actor-resolve", "get")
	if got, err := hear(ctx, b.talkerClients()["grpc-h2"], "total"); err != nil || got != "0" {
		t.Errorf("the same actor by its key: %q, %v", got, err)
	}
}
