// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// TestP35_ResumeOverTheWire follows from the cursor of a reply, in every protocol and
// however the cursor is said, and with a filter.
func TestP35_ResumeOverTheWire(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for name, client := range b.clients() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, info := at(t.Context(), "actor-key", name)
			for range 3 {
				if _, err := client.Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
					t.Fatal(err)
				}
			}
			cursor := info.ResponseHeader().Get("actor-cursor")
			for range 100 {
				ctx, _ := at(t.Context(), "actor-key", name)
				if _, err := client.Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
					t.Fatal(err)
				}
			}
			byURL := counterv1connect.NewCounterClient(connect.NewClient(connecthttp.NewTransport(b.h1, b.url+"/actors/default/"+name+"/@")))
			for said, follow := range map[string]struct {
				client  counterv1connect.CounterClient
				headers []string
			}{
				"actor-resume":  {client, []string{"actor-key", name, "actor-resume", cursor}},
				"last-event-id": {client, []string{"actor-key", name, "last-event-id", cursor, "actor-events", "count_changed"}},
				"in the URL":    {byURL, []string{"actor-resume", cursor, "actor-events", "countChanged"}},
			} {
				ctx, _ := at(t.Context(), follow.headers...)
				stream, err := follow.client.Subscribe(ctx, &counterv1.SubscribeRequest{})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = stream.Close() }()
				opened, err := stream.Receive()
				if err != nil || !opened.GetInfo().GetOpened().GetResumed() || opened.GetInfo().GetCursor() != cursor {
					t.Fatalf("%s: first frame: %v, %v", said, opened, err)
				}
				for want := int64(4); want <= 103; want++ {
					frame, err := stream.Receive()
					if err != nil || frame.GetCountChanged().GetCount() != want {
						t.Fatalf("%s: event %d: %v, %v", said, want, frame, err)
					}
				}
			}
		})
	}
}

// TestP34_ARefusedCursorNamesTheHead in the metadata of its error.
func TestP34_ARefusedCursorNamesTheHead(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ctx, info := at(t.Context(), "actor-key", "one")
	if _, err := b.counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
		t.Fatal(err)
	}
	foreign := info.ResponseHeader().Get("actor-cursor")
	ctx, info = at(t.Context(), "actor-key", "two")
	if _, err := b.counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
		t.Fatal(err)
	}
	head := info.ResponseHeader().Get("actor-cursor")
	ctx, _ = at(t.Context(), "actor-key", "two", "actor-resume", foreign)
	stream, err := b.counters().Subscribe(ctx, &counterv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	_, err = stream.Receive()
	assertError(t, err, connect.CodeOutOfRange, "cursor_out_of_range", "troupe.v1")
	wire, _ := errorAs(err)
	for _, detail := range wire.Details() {
		if message, err := connectproto.UnmarshalErrorDetail(detail); err == nil {
			if info, ok := message.(*errdetails.ErrorInfo); ok && info.GetMetadata()["cursor"] != head {
				t.Errorf("the error names %v, want the cursor %s", info.GetMetadata(), head)
			}
		}
	}
}
