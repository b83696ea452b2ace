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
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/proto"
)

func TestTheLimitsOfAnOutbox(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			if c.Key()[0] == "b" {
				return errors.New("a receiver that fails")
			}
			for range req.GetAmount() {
				_ = c.post("b", 1) // the turn fails all the same
			}
			return nil
		}
		_, err := k.add(t.Context(), "a", 101)
		wantFailure(t, err, failure{connect.CodeResourceExhausted, "too_many_messages", notExecuted})
		for range 100 {
			k.mustAdd("a", 100)
		}
		_, err = k.add(t.Context(), "a", 1)
		wantFailure(t, err, failure{connect.CodeResourceExhausted, "outbox_full", notExecuted})
		k.mustCount("a", 10_000)
	})
}

func TestWhatAnOutboxRefuses(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	add := counterv1connect.CounterIncrementProcedure
	one := &counterv1.IncrementRequest{Amount: 1}
	for name, test := range map[string]struct {
		to        actors.Peer
		procedure string
		request   proto.Message
		reason    string
	}{
		"no procedure": {actors.Peer{}, "/counter.v1.Counter/None", one, "unknown_method"},
		"read-only":    {actors.Peer{}, counterv1connect.CounterGetProcedure, new(counterv1.GetRequest), "bad_message"},
		"subscription": {actors.Peer{}, counterv1connect.CounterSubscribeProcedure, new(counterv1.SubscribeRequest), "bad_message"},
		"request":      {actors.Peer{}, add, new(counterv1.GetRequest), "bad_message"},
		"no request":   {actors.Peer{}, add, nil, "bad_message"},
		"create":       {actors.Peer{Resolve: actors.Create}, add, one, "bad_message"},
		"key":          {actors.Peer{Key: []string{"\x00"}}, add, one, "bad_message"},
		"id":           {actors.Peer{ID: "none"}, add, one, "bad_message"},
	} {
		k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error {
			return c.Outbox().Send(test.to, test.procedure, test.request)
		}
		_, err := k.add(t.Context(), "a", 1)
		if got, want := failureOf(t, err), (failure{connect.CodeInvalidArgument, test.reason, notExecuted}); got != want {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	k.get = func(_ context.Context, c *counter) error { return c.post("b", 1) }
	_, err := k.count(t.Context(), "a")
	wantFailure(t, err, failure{connect.CodeInternal, "internal", notExecuted})
}

func TestAMessageByIDDoesNotMakeItsReceiver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil)
		absent := store.NewID(0).String()
		k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error {
			return errors.Join(
				c.Outbox().Send(actors.Peer{ID: absent}, counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 1}),
				c.Outbox().Send(actors.Peer{Key: []string{"b"}, Resolve: actors.Get}, counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 1}))
		}
		k.mustAdd("a", 1)
		pass(3 * time.Hour)
		var kinds []byte // the dead, the head, and what the next messages to their receivers pass over
		for _, row := range k.outbox("a") {
			kinds = append(kinds, row[0])
		}
		if string(kinds) != "ddhpp" {
			t.Errorf("the outbox keeps %q", k.outbox("a"))
		}
		if _, err := k.store.Load(t.Context(), k.address("b")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Load says %v", err)
		}
	})
}
