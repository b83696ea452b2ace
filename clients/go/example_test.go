// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"time"

	"connectrpc.com/connect/v2"
	troupe "github.com/troupe-dev/troupe/clients/go"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// exampleServer stands for a Troupe server in the examples.
func exampleServer() *httptest.Server {
	s := &fakeServer{
		increment: func(_ context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
			if req.GetAmount() < 0 {
				return nil, failure(connect.CodeFailedPrecondition, "the count cannot fall below 0",
					&errdetails.ErrorInfo{Reason: "too_low", Metadata: map[string]string{"count": "0"}}, outcome(notExecuted))
			}
			return &counterv1.IncrementResponse{Count: req.GetAmount()}, nil
		},
		get: func(ctx context.Context, _ *counterv1.GetRequest) (*counterv1.GetResponse, error) {
			if info, ok := connect.CallInfoForServerContext(ctx); ok {
				info.ResponseHeader().Set("actor-cursor", "c41")
			}
			return &counterv1.GetResponse{Count: 41}, nil
		},
		send: func(ctx context.Context, req *chatv1.SendRequest) (*chatv1.SendResponse, error) {
			author := "nobody"
			if info, ok := connect.CallInfoForServerContext(ctx); ok && info.RequestHeader().Get("actor-conn") != "" {
				author = "ada"
			}
			return &chatv1.SendResponse{Message: &chatv1.Message{Author: author, Text: req.GetText()}}, nil
		},
		subscribe: func(_ context.Context, _ *chatv1.SubscribeRequest, st chatv1connect.ChatRoomSubscribeServerStream) error {
			return errors.Join(st.Send(openedAs("1.s")), st.Send(posted(1)), st.Send(posted(2)),
				st.Send(closing(troupev1.CloseReason_CLOSE_REASON_DESTROYED, nil)))
		},
	}
	return httptest.NewServer(s.handler())
}

func Example() {
	server := exampleServer()
	defer server.Close()
	ctx := context.Background()

	client := troupe.Dial(server.URL)
	defer client.Close()
	counter := counterv1connect.NewCounterClient(client.GetOrCreate("acme", "visits"))
	reply, err := counter.Increment(ctx, &counterv1.IncrementRequest{Amount: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(reply.GetCount())
	// Output: 3
}

func ExampleClient_Bind() {
	server := exampleServer()
	defer server.Close()

	client := troupe.Dial(server.URL, troupe.WithNamespace("staging"))
	defer client.Close()
	counter := counterv1connect.NewCounterClient(client.Bind(troupe.Address{
		Key:   []string{"acme", "visits"},
		Input: &counterv1.CounterInput{Initial: 41},
	}))
	reply, err := counter.Get(context.Background(), &counterv1.GetRequest{})
	fmt.Println(reply.GetCount(), err)
	// Output: 41 <nil>
}

func ExampleClient_Actors() {
	server := exampleServer()
	defer server.Close()

	client := troupe.Dial(server.URL)
	defer client.Close()
	reply, err := client.Actors().Resolve(context.Background(), &troupev1.ResolveRequest{
		Address: client.Address(chatv1connect.ChatRoomName, "acme", "general"),
	})
	fmt.Println(reply.GetId(), err)
	// Output: |chat.v1.ChatRoom|acme|general <nil>
}

func ExampleReason() {
	server := exampleServer()
	defer server.Close()

	client := troupe.Dial(server.URL)
	defer client.Close()
	counter := counterv1connect.NewCounterClient(client.GetOrCreate("acme", "visits"))
	_, err := counter.Increment(context.Background(), &counterv1.IncrementRequest{Amount: -1})
	fmt.Println(connect.CodeOf(err))
	fmt.Println(troupe.Reason(err), troupe.Metadata(err)["count"])
	fmt.Println(troupe.OutcomeOf(err))
	// Output:
	// failed_precondition
	// too_low 0
	// OUTCOME_NOT_EXECUTED
}

func ExampleEvents() {
	server := exampleServer()
	defer server.Close()
	ctx := context.Background()

	client := troupe.Dial(server.URL)
	defer client.Close()
	room := chatv1connect.NewChatRoomClient(client.GetOrCreate("acme", "general"))
	for event, err := range troupe.Events(ctx, room.Subscribe, &chatv1.SubscribeRequest{User: "ada"}) {
		if errors.Is(err, troupe.ErrGap) {
			// Events were missed: read the actor's state anew.
			continue
		}
		if err != nil {
			fmt.Println(err)
			break
		}
		switch e := event.GetEvent().(type) {
		case *chatv1.ChatRoomEvent_MessagePosted:
			fmt.Println("message", e.MessagePosted.GetMessage().GetId())
		case *chatv1.ChatRoomEvent_MemberJoined:
			fmt.Println(e.MemberJoined.GetUser(), "joined")
		}
	}
	// Output:
	// message 1
	// message 2
	// troupe: the server closed the stream: CLOSE_REASON_DESTROYED: bye
}

// Reading a state and following it from there misses nothing and repeats nothing.
func ExampleWithCursor() {
	server := exampleServer()
	defer server.Close()

	client := troupe.Dial(server.URL)
	defer client.Close()
	counter := counterv1connect.NewCounterClient(client.GetOrCreate("acme", "visits"))
	ctx, info := connect.NewClientContext(context.Background())
	reply, err := counter.Get(ctx, &counterv1.GetRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}
	cursor := info.ResponseHeader().Get("actor-cursor")
	fmt.Println(reply.GetCount(), cursor)

	_ = troupe.Events(context.Background(), counter.Subscribe, &counterv1.SubscribeRequest{}, troupe.WithCursor(cursor))
	// Output: 41 c41
}

// A bot subscribes to a room and posts as the member that it joined as.
func ExampleConnect() {
	s := &fakeServer{
		send: func(ctx context.Context, req *chatv1.SendRequest) (*chatv1.SendResponse, error) {
			info, _ := connect.CallInfoForServerContext(ctx)
			fmt.Println("the actor sees connection", info.RequestHeader().Get("actor-conn"))
			return &chatv1.SendResponse{}, nil
		},
		subscribe: func(ctx context.Context, _ *chatv1.SubscribeRequest, st chatv1connect.ChatRoomSubscribeServerStream) error {
			if err := errors.Join(st.Send(openedAs("17.secret")), st.Send(posted(1))); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		},
	}
	server := httptest.NewServer(s.handler())
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	client := troupe.Dial(server.URL)
	defer client.Close()
	conn := troupe.Connect(ctx, client.GetOrCreate("acme", "general"),
		chatv1connect.NewChatRoomClient, chatv1connect.ChatRoomClient.Subscribe,
		&chatv1.SubscribeRequest{User: "bot"})
	defer func() { _ = conn.Close() }()
	for event, err := range conn.Events() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("message", event.GetMessagePosted().GetMessage().GetId())
		if _, err := conn.Actor().Send(ctx, &chatv1.SendRequest{Text: "hello"}); err != nil {
			fmt.Println(err)
		}
		break
	}
	// Output:
	// message 1
	// the actor sees connection 17.secret
}
