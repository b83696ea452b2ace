// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
	"github.com/troupe-dev/troupe/gen/go/agent/v1/agentv1connect"
)

func TestAStreamingActionRunsBesideItsActor(t *testing.T) {
	t.Parallel()
	k := newTalkers(t, nil)
	release := make(chan struct{})
	k.ask = func(ctx context.Context, a *talker, send func(string) error) error {
		if err := a.Turn(ctx, a.count); err != nil {
			return err
		}
		if err := send("first "); err != nil {
			return err
		}
		<-release
		if err := a.Turn(ctx, a.count); err != nil {
			return err
		}
		return send("second ")
	}
	l := k.asks("x")
	if got := await(t, "token", l.tokens); got != "first x" {
		t.Fatalf("the first message is %q", got)
	}
	k.mustCount(1)
	k.mustDo() // the stream holds no turn
	k.mustCount(2)
	close(release)
	if got := await(t, "token", l.tokens); got != "second x" {
		t.Fatalf("the second message is %q", got)
	}
	if err := await(t, "end", l.ended); err != nil {
		t.Fatal(err)
	}
	k.mustCount(3)
}

// TestAStreamingActionKnowsItsCaller holds in the action and in the turns that it
// enters.
func TestAStreamingActionKnowsItsCaller(t *testing.T) {
	t.Parallel()
	refusal := actors.Errorf(connect.CodePermissionDenied, "not_you", "not you")
	k := newTalkers(t, nil, actors.BeforeConnect(func(_ context.Context, attempt actors.Attempt, _ *agentv1.SubscribeRequest) error {
		if attempt.Subject == "mallory" {
			return refusal
		}
		return nil
	}))
	opening := k.to(agentv1connect.AssistantSubscribeProcedure, new(agentv1.SubscribeRequest))
	opening.Subject = "ada"
	sub, err := k.Subscribe(t.Context(), opening)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	var token string
	k.act = func(_ context.Context, a *talker) error {
		token = a.Conns()[0].ID()
		return nil
	}
	k.mustDo()
	var seen []string
	look := func(ctx context.Context) error {
		seen = append(seen, actors.SubjectOf(ctx))
		if conn := actors.ConnOf(ctx); conn != nil {
			seen = append(seen, conn.ID())
		}
		return nil
	}
	k.ask = func(ctx context.Context, a *talker, _ func(string) error) error {
		return errors.Join(look(ctx), a.Turn(ctx, look), a.ReadTurn(ctx, look))
	}
	as := func(subject, conn string) error {
		return <-k.stream(agentv1connect.AssistantAskProcedure, new(agentv1.AskRequest), func(c *actors.Call, _ *listener) {
			c.Subject, c.Conn = subject, conn
		}).ended
	}
	if err := as("ada", ""); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 3 || seen[0] != "ada" || seen[1] != "ada" || seen[2] != "ada" {
		t.Errorf("the action was called by %q", seen)
	}
	wantReason(t, as("mallory", ""), connect.CodePermissionDenied, "not_you")
	wantFailure(t, as("ada", token+".guessed"), failure{connect.CodeFailedPrecondition, "connection_gone", notExecuted})
	if len(seen) != 3 {
		t.Error("an action that was refused ran")
	}
}

func TestAStreamingActionWhosePeerIsGoneEnds(t *testing.T) {
	t.Parallel()
	k := newTalkers(t, nil)
	gone := connect.NewError(connect.CodeCanceled, "the peer is gone")
	k.ask = func(_ context.Context, _ *talker, send func(string) error) error {
		for {
			if err := send("again"); err != nil {
				return err
			}
		}
	}
	l := k.stream(agentv1connect.AssistantAskProcedure, new(agentv1.AskRequest), func(_ *actors.Call, l *listener) { l.failed = gone })
	if err := await(t, "end", l.ended); connect.CodeOf(err) != connect.CodeCanceled {
		t.Errorf("the action ended with %v", err)
	}
	l = k.stream(agentv1connect.AssistantAskProcedure, new(agentv1.AskRequest), func(_ *actors.Call, l *listener) { l.tokens = make(chan string, 1<<20) })
	await(t, "message", l.tokens)
	l.cancel() // the action looks at nothing but what send says
	if err := await(t, "end", l.ended); connect.CodeOf(err) != connect.CodeCanceled {
		t.Errorf("the action ended with %v", err)
	}
}

// TestACallerWhoLeavesBeforeItsStreamBegins leaves nothing behind that keeps the
// actor awake.
func TestACallerWhoLeavesBeforeItsStreamBegins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		k := newTalkers(t, faulty, actors.SleepAfter(time.Second))
		k.ask = func(context.Context, *talker, func(string) error) error {
			t.Error("the action ran")
			return nil
		}
		hold := faulty.HoldWaits()
		l := k.asks("")
		synctest.Wait() // its actor's creation waits for the disk
		l.cancel()
		wantFailure(t, <-l.ended, failure{connect.CodeCanceled, "canceled", unknown})
		hold.Release()
		pass(3 * time.Second)
		if k.awake() {
			t.Error("the actor stays awake for nobody")
		}
	})
}

func TestAStreamingActionEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil)
		k.ask = func(ctx context.Context, _ *talker, _ func(string) error) error {
			<-ctx.Done()
			return errors.New("some library's own error")
		}
		began := time.Now()
		wantFailure(t, <-k.asks("").ended, failure{connect.CodeDeadlineExceeded, "stream_timeout", notExecuted})
		if took := time.Since(began); took != time.Hour {
			t.Errorf("it took %s", took)
		}
	})
}

// TestP15_AStreamThatMayHaveWrittenNeverSaysNotExecuted fails in every way after a
// turn whose outcome nobody knows.
func TestP15_AStreamThatMayHaveWrittenNeverSaysNotExecuted(t *testing.T) {
	t.Parallel()
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	k := newTalkers(t, faulty)
	k.mustDo()
	lost := errors.New("the answer was lost")
	k.ask = func(ctx context.Context, a *talker, _ func(string) error) error {
		faulty.FailCommitAfter(store.ErrUnknown)
		if err := a.Turn(ctx, a.count); err == nil {
			t.Error("Turn says that a lost commit is durable")
		}
		return actors.Errorf(connect.CodeUnavailable, "lost", "%w", lost)
	}
	wantFailure(t, await(t, "end", k.asks("").ended), failure{connect.CodeUnavailable, "lost", unknown})
	k.mustCount(2)
}
