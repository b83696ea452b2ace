// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
	"github.com/troupe-dev/troupe/gen/go/agent/v1/agentv1connect"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
)

func TestTheProgramFollowsTheEventsOfAnActor(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	stream, err := k.outside("a").Subscribe(t.Context(), new(counterv1.SubscribeRequest))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	if opened, err := stream.Receive(); err != nil || opened.GetInfo().GetOpened() == nil {
		t.Fatalf("the first frame is %v, %v", opened, err)
	}
	for want := int64(1); want < 4; want++ {
		k.mustAdd("a", 1)
		if event, err := stream.Receive(); err != nil || event.GetCountChanged().GetCount() != want {
			t.Fatalf("the event is %v, %v, want %d", event, err, want)
		}
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	if _, err := stream.Receive(); !errors.Is(err, context.Canceled) {
		t.Errorf("a closed stream says %v", err)
	}
}

// TestP21_AStreamDoesNotHoldATurn: nor does a call go unseen by those who wait for it.
func TestP21_AStreamDoesNotHoldATurn(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	for name, ctxOf := range map[string]func(context.Context) context.Context{
		"its context":     func(ctx context.Context) context.Context { return ctx },
		"another context": func(context.Context) context.Context { return t.Context() },
	} {
		k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error {
			stream, err := c.peer("b").Subscribe(ctxOf(ctx), new(counterv1.SubscribeRequest))
			if err == nil {
				_, err = stream.Receive()
			}
			if got := failureOf(t, err); got != (failure{connect.CodeFailedPrecondition, "stream_in_turn", notExecuted}) {
				t.Errorf("with %s the error is %v", name, err)
			}
			return nil
		}
		k.mustAdd("a", 1)
	}
	k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error {
		_, err := c.peer("b").Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
		wantFailure(t, err, failure{connect.CodeFailedPrecondition, "context_lost", notExecuted})
		return nil
	}
	k.mustAdd("a", 1)
}

// TestAnActorFollowsTheEventsOfAnother does so in the work of Go, which ends with the
// actor.
func TestAnActorFollowsTheEventsOfAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			if c.Key()[0] != "a" || req.GetAmount() != 1000 {
				return nil
			}
			client := c.peer("b")
			c.Go(func(ctx context.Context) {
				stream, err := client.Subscribe(ctx, new(counterv1.SubscribeRequest))
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = stream.Close() }()
				event, err := stream.Receive()
				for ; err == nil; event, err = stream.Receive() {
					if event.GetCountChanged() == nil {
						continue
					}
					err := c.Turn(ctx, func(context.Context) error {
						c.State().Count += event.GetCountChanged().GetCount()
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
				if ctx.Err() == nil {
					t.Errorf("the stream ended with %v", err)
				}
			})
			return nil
		}
		k.mustAdd("a", 1000)
		synctest.Wait()
		for range 3 {
			k.mustAdd("b", 1)
			synctest.Wait()
		}
		k.mustCount("a", 1006)
	})
}

func TestAnActorCallsAStreamingActionOfAnother(t *testing.T) {
	t.Parallel()
	k := newTalkers(t, nil)
	fails := actors.Errorf(connect.CodeAborted, "out_of_words", "no more")
	k.ask = func(_ context.Context, _ *talker, send func(string) error) error {
		return errors.Join(send("one "), send("two "), fails)
	}
	client := agentv1connect.NewAssistantClient(k.Actors("default").GetOrCreate("a"))
	stream, err := client.Ask(t.Context(), &agentv1.AskRequest{Text: "more"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one more", "two more"} {
		if got, err := stream.Receive(); err != nil || got.GetToken() != want {
			t.Fatalf("the message is %v, %v, want %q", got, err, want)
		}
	}
	_, err = stream.Receive()
	wantFailure(t, err, failure{connect.CodeAborted, "out_of_words", notExecuted})
	if wire, _ := errors.AsType[*connect.Error](err); !wire.IsRemote() {
		t.Errorf("the error is %#v", err)
	}
}

func TestP41_AStreamInTheProcessThatNobodyReadsDoesNotKeepTheHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		read, err := k.outside("a").Subscribe(t.Context(), new(counterv1.SubscribeRequest))
		if err != nil {
			t.Fatal(err)
		}
		unread, err := k.outside("a").Subscribe(t.Context(), new(counterv1.SubscribeRequest))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			last, err := read.Receive()
			for err == nil {
				if closing := last.GetInfo().GetClosing(); closing != nil && closing.GetReconnectAfter() == nil {
					t.Errorf("the stream closed with %v", closing)
				}
				last, err = read.Receive()
			}
			ended <- err
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := k.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("the stream that is read ended with %v", err)
		}
		if _, err := unread.Receive(); err == nil {
			t.Error("the stream that is not read goes on")
		}
	})
}

func TestP47_GoexitEndsAStreamInTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalkers(t, nil)
		k.ask = func(context.Context, *talker, func(string) error) error {
			runtime.Goexit()
			return nil
		}
		client := agentv1connect.NewAssistantClient(k.Actors("default").GetOrCreate("a"))
		stream, err := client.Ask(t.Context(), new(agentv1.AskRequest))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { _, err := stream.Receive(); ended <- err }()
		synctest.Wait()
		select {
		case err := <-ended:
			wantFailure(t, err, internal)
		default:
			t.Error("the reader waits for ever")
			_ = stream.Close()
		}
	})
}
