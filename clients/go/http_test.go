// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	troupe "github.com/troupe-dev/troupe/clients/go"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// TestConnectionOverHTTP subscribes and sends as one connection over real HTTP, with
// generated clients, and is cut once.
func TestConnectionOverHTTP(t *testing.T) {
	t.Parallel()
	posts := make(chan string, 8)
	streams := make(chan string, 8)
	s := &fakeServer{
		send: func(ctx context.Context, req *chatv1.SendRequest) (*chatv1.SendResponse, error) {
			info, _ := connect.CallInfoForServerContext(ctx)
			posts <- info.RequestHeader().Get("actor-conn") + " " + info.RequestHeader().Get("actor-key") + " " + req.GetText()
			return &chatv1.SendResponse{}, nil
		},
		subscribe: func(ctx context.Context, req *chatv1.SubscribeRequest, st chatv1connect.ChatRoomSubscribeServerStream) error {
			info, _ := connect.CallInfoForServerContext(ctx)
			resume := info.RequestHeader().Get("actor-resume")
			streams <- req.GetUser() + " " + info.RequestHeader().Get("actor-key") + " " + resume
			connection, first := "1.s", 1
			if resume != "" {
				connection, first = "2.s", 2
			}
			if err := st.Send(openedAs(connection)); err != nil {
				return err
			}
			if err := st.Send(posted(first)); err != nil {
				return err
			}
			if resume == "" {
				return failure(connect.CodeUnavailable, "draining")
			}
			<-ctx.Done()
			return ctx.Err()
		},
	}
	s.start(t)
	client := troupe.Dial(s.url)
	defer client.Close()
	conn := troupe.Connect(t.Context(), client.GetOrCreate("acme", "general"),
		chatv1connect.NewChatRoomClient, chatv1connect.ChatRoomClient.Subscribe, ada)
	defer func() { _ = conn.Close() }()
	n := 0
	for event, err := range conn.Events() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; event.GetMessagePosted().GetMessage().GetId() == "2" {
			break
		}
	}
	if _, err := conn.Actor().Send(t.Context(), &chatv1.SendRequest{Text: "hi"}); err != nil {
		t.Fatal(err)
	}
	if got, want := <-posts, "2.s acme/general hi"; got != want {
		t.Errorf("the call came as %q, want %q", got, want)
	}
	if first, second := <-streams, <-streams; first != "ada acme/general " || second != "ada acme/general c1" {
		t.Errorf("subscribed as %q and %q", first, second)
	}
	if st := conn.Status(); st.State != troupe.Open || st.ActorID != "a1" {
		t.Errorf("status %+v", st)
	}
}

// TestEventsOverHTTP follows a server that closes its listener's connections under
// the stream.
func TestEventsOverHTTP(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]troupe.Option{"HTTP/1.1": nil, "h2c": {troupe.WithHTTP2()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &fakeServer{subscribe: func(ctx context.Context, _ *chatv1.SubscribeRequest, st chatv1connect.ChatRoomSubscribeServerStream) error {
				info, _ := connect.CallInfoForServerContext(ctx)
				switch info.RequestHeader().Get("actor-resume") {
				case "":
					if err := errors.Join(st.Send(openedAs("1.s")), st.Send(posted(1))); err != nil {
						return err
					}
					panic(http.ErrAbortHandler) // cuts the connection in the middle of the stream
				case "c1":
					return errors.Join(st.Send(openedAs("2.s")), st.Send(posted(2)),
						st.Send(closing(troupev1.CloseReason_CLOSE_REASON_DISCONNECTED, nil)))
				}
				return nil
			}}
			s.start(t)
			client := troupe.Dial(s.url, opts...)
			defer client.Close()
			chat := chatv1connect.NewChatRoomClient(client.GetOrCreate("acme", "general"))
			var ids []string
			for event, err := range troupe.Events(t.Context(), chat.Subscribe, ada) {
				if err != nil {
					if _, ok := errors.AsType[*troupe.ClosedError](err); !ok {
						t.Errorf("ended with %v, want a ClosedError", err)
					}
					continue
				}
				ids = append(ids, event.GetMessagePosted().GetMessage().GetId())
			}
			if diff := cmp.Diff([]string{"1", "2"}, ids); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEventsWithWrongAddress checks that an address that cannot be sent ends a
// subscription instead of being tried for ever.
func TestEventsWithWrongAddress(t *testing.T) {
	t.Parallel()
	chat := chatv1connect.NewChatRoomClient(troupe.Dial("http://localhost:1").GetOrCreate("\xff"))
	n := 0
	for _, err := range troupe.Events(t.Context(), chat.Subscribe, ada) {
		if n++; connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("error %v, want invalid_argument", err)
		}
	}
	if n != 1 {
		t.Errorf("%d iterations, want one", n)
	}
}

// TestSilentServer checks that the watchdog frees a read that is blocked on a real
// socket.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]troupe.Option{"HTTP/1.1": nil, "h2c": {troupe.WithHTTP2()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &fakeServer{subscribe: func(ctx context.Context, _ *chatv1.SubscribeRequest, st chatv1connect.ChatRoomSubscribeServerStream) error {
				info, _ := connect.CallInfoForServerContext(ctx)
				n := 1
				if info.RequestHeader().Get("actor-resume") == "c1" {
					n = 2
				}
				opened := openedAs("1.s")
				opened.GetInfo().GetOpened().HeartbeatInterval = durationpb.New(40 * time.Millisecond)
				if err := errors.Join(st.Send(opened), st.Send(posted(n))); err != nil {
					return err
				}
				<-ctx.Done() // the client must hang up
				return ctx.Err()
			}}
			s.start(t)
			client := troupe.Dial(s.url, opts...)
			defer client.Close()
			chat := chatv1connect.NewChatRoomClient(client.GetOrCreate("acme", "general"))
			var ids []string
			for event, err := range troupe.Events(t.Context(), chat.Subscribe, ada) {
				if err != nil {
					t.Fatal(err)
				}
				if ids = append(ids, event.GetMessagePosted().GetMessage().GetId()); len(ids) == 2 {
					break
				}
			}
			if diff := cmp.Diff([]string{"1", "2"}, ids); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// TestManyCallers uses one client and one bound actor from many goroutines.
func TestManyCallers(t *testing.T) {
	t.Parallel()
	s := countingServer(t)
	client := troupe.Dial(s.url)
	defer client.Close()
	shared := counterv1connect.NewCounterClient(client.GetOrCreate("shared"))
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			own := counterv1connect.NewCounterClient(client.GetOrCreate("own"))
			for range 20 {
				if _, err := shared.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1}); err != nil {
					t.Error(err)
				}
				if _, err := own.Get(t.Context(), &counterv1.GetRequest{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if got := len(s.seen()); got != 16*20*2 {
		t.Errorf("%d requests, want %d", got, 16*20*2)
	}
}
