// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	troupe "github.com/troupe-dev/troupe/clients/go"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/server"
)

type counterActor struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]
}

func (c *counterActor) Increment(_ context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	c.State().Count += req.GetAmount()
	c.Broadcast(&counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{
		CountChanged: &counterv1.CountChanged{Count: c.State().GetCount()},
	}})
	return &counterv1.IncrementResponse{Count: c.State().GetCount()}, nil
}

func (c *counterActor) Get(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	return &counterv1.GetResponse{Count: c.State().GetCount()}, nil
}

func (c *counterActor) Fail(context.Context, *counterv1.FailRequest) (*counterv1.FailResponse, error) {
	return nil, actors.Errorf(connect.CodeFailedPrecondition, "on_purpose", "failed as asked").With("asked", "yes")
}

type chatActor struct {
	chatv1connect.UnimplementedChatRoomHandler
	actors.Actor[*chatv1.ChatRoomState, *chatv1.ChatRoomEvent]
}

func (r *chatActor) Send(ctx context.Context, req *chatv1.SendRequest) (*chatv1.SendResponse, error) {
	message := &chatv1.Message{Author: actors.ConnState[*chatv1.ChatMember](ctx).GetUser(), Text: req.GetText()}
	r.Broadcast(&chatv1.ChatRoomEvent{Event: &chatv1.ChatRoomEvent_MessagePosted{
		MessagePosted: &chatv1.MessagePosted{Message: message},
	}})
	return &chatv1.SendResponse{Message: message}, nil
}

func (r *chatActor) join(_ context.Context, params *chatv1.SubscribeRequest) (*chatv1.ChatMember, error) {
	return &chatv1.ChatMember{User: params.GetUser()}, nil
}

// troupeServer runs a real server on address; stop ends it.
func troupeServer(t *testing.T, address string, st store.Store) (url string, stop func()) {
	t.Helper()
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counterActor { return new(counterActor) },
		actors.OnCreate(func(c *counterActor, _ context.Context, input *counterv1.CounterInput) error {
			c.State().Count = input.GetInitial()
			return nil
		}))
	actors.Register(registry, chatv1connect.RegisterChatRoomHandler, func() *chatActor { return new(chatActor) },
		actors.CreateConnState((*chatActor).join))
	s, err := server.New(server.Config{
		Registry: registry, Store: st, Listen: "127.0.0.1:0",
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	return "http://" + listener.Addr().String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	}
}

// TestRealServer calls real actors through every part of the client.
func TestRealServer(t *testing.T) {
	t.Parallel()
	url, stop := troupeServer(t, "127.0.0.1:0", memory.New(memory.Options{}))
	defer stop()
	client := troupe.Dial(url)
	defer client.Close()
	ctx := t.Context()

	_, err := counterv1connect.NewCounterClient(client.Get("a", "b/c", "")).Get(ctx, &counterv1.GetRequest{})
	if connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("get of an absent actor: %v, want not_found", err)
	}
	callCtx, info := connect.NewClientContext(ctx)
	counter := counterv1connect.NewCounterClient(client.Bind(troupe.Address{
		Key: []string{"a", "b/c", ""}, Resolve: troupe.Create, Input: &counterv1.CounterInput{Initial: 40},
	}))
	reply, err := counter.Increment(callCtx, &counterv1.IncrementRequest{Amount: 2})
	if err != nil || reply.GetCount() != 42 {
		t.Fatalf("count %d, %v; want 42", reply.GetCount(), err)
	}
	id, cursor := info.ResponseHeader().Get("actor-id"), info.ResponseHeader().Get("actor-cursor")
	if info.ResponseHeader().Get("actor-created") != "true" || id == "" {
		t.Errorf("metadata of the creation: id %q", id)
	}
	if _, err = counter.Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("second creation: %v, want already_exists", err)
	}

	byID := counterv1connect.NewCounterClient(client.ForID(id))
	if got, err := byID.Get(ctx, &counterv1.GetRequest{}); err != nil || got.GetCount() != 42 {
		t.Errorf("by id: %d, %v", got.GetCount(), err)
	}
	_, err = byID.Fail(ctx, &counterv1.FailRequest{})
	if troupe.Reason(err) != "on_purpose" || troupe.Metadata(err)["asked"] != "yes" || troupe.OutcomeOf(err) != notExecuted {
		t.Errorf("authored error: %v, reason %q, outcome %v", err, troupe.Reason(err), troupe.OutcomeOf(err))
	}
	_, err = byID.Increment(ctx, &counterv1.IncrementRequest{})
	if v := troupe.Violations(err); len(v) != 1 || v[0].Field != "amount" {
		t.Errorf("violations of %v: %v", err, v)
	}

	resolved, err := client.Actors().Resolve(ctx, &troupev1.ResolveRequest{
		Address: client.Address(counterv1connect.CounterName, "a", "b/c", ""),
	})
	if err != nil || resolved.GetId() != id {
		t.Errorf("resolved %q, %v; want %q", resolved.GetId(), err, id)
	}

	// Follow from the reply's cursor.
	var counts []int64
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	var writing sync.WaitGroup // events may be here before their replies
	status := troupe.OnStatus(func(st troupe.Status) {
		if st.State != troupe.Open {
			return
		}
		if !st.Resumed || st.ActorID != id {
			t.Errorf("status %+v, want it resumed", st)
		}
		writing.Go(func() {
			for range 3 {
				if _, err := byID.Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	})
	for event, err := range troupe.Events(following, byID.Subscribe, &counterv1.SubscribeRequest{}, troupe.WithCursor(cursor), status) {
		if err != nil {
			t.Fatal(err)
		}
		if counts = append(counts, event.GetCountChanged().GetCount()); len(counts) == 3 {
			break
		}
	}
	writing.Wait()
	if diff := cmp.Diff([]int64{43, 44, 45}, counts); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestRealConnection joins a room, posts as that member, and goes on after the server
// was stopped and started again.
func TestRealConnection(t *testing.T) {
	t.Parallel()
	st := memory.New(memory.Options{})
	url, stop := troupeServer(t, "127.0.0.1:0", st)
	client := troupe.Dial(url)
	defer client.Close()
	opened := make(chan struct{}, 16)
	conn := troupe.Connect(t.Context(), client.GetOrCreate("acme", "general"),
		chatv1connect.NewChatRoomClient, chatv1connect.ChatRoomClient.Subscribe, ada,
		troupe.OnStatus(func(st troupe.Status) {
			if st.State == troupe.Open {
				opened <- struct{}{}
			}
		}))
	defer func() { _ = conn.Close() }()

	post := func(text string) {
		t.Helper()
		reply, err := conn.Actor().Send(t.Context(), &chatv1.SendRequest{Text: text})
		if err != nil {
			t.Fatal(err)
		}
		if got := reply.GetMessage().GetAuthor(); got != "ada" {
			t.Errorf("posted as %q, want ada", got)
		}
		for event, err := range conn.Events() {
			if errors.Is(err, troupe.ErrGap) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if event.GetMessagePosted().GetMessage().GetText() == text {
				return
			}
		}
	}
	<-opened
	post("before")
	first := conn.Status().ConnectionID
	stop()
	_, stop = troupeServer(t, url[len("http://"):], st)
	defer stop()
	<-opened // before, a call could meet the dying connection of the old server
	post("after")
	if second := conn.Status(); second.State != troupe.Open || second.ConnectionID == first {
		t.Errorf("status %+v, want another connection than %q", second, first)
	}
}

// TestRealResume follows a counter over restarts of its server, while others add to
// it, and misses nothing.
func TestRealResume(t *testing.T) {
	t.Parallel()
	st := memory.New(memory.Options{})
	url, stop := troupeServer(t, "127.0.0.1:0", st)
	client := troupe.Dial(url)
	defer client.Close()
	counter := counterv1connect.NewCounterClient(client.GetOrCreate("resumed"))
	add := func(n int) { // by a client of its own: its connections are of this server
		t.Helper()
		other := troupe.Dial(url)
		defer other.Close()
		adder := counterv1connect.NewCounterClient(other.GetOrCreate("resumed"))
		for range n {
			if _, err := adder.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(1)
	want, gaps := int64(2), 0
	opened := make(chan struct{}, 16)
	status := troupe.OnStatus(func(st troupe.Status) {
		if st.State == troupe.Open {
			opened <- struct{}{}
		}
	})
	var followed []int64
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for event, err := range troupe.Events(ctx, counter.Subscribe, &counterv1.SubscribeRequest{}, status, troupe.WithEvents("count_changed")) {
			switch {
			case errors.Is(err, troupe.ErrGap):
				gaps++
				continue
			case err != nil:
				done <- err
				return
			}
			followed = append(followed, event.GetCountChanged().GetCount())
			if len(followed) == 60 {
				break
			}
		}
		done <- nil
	}()
	<-opened
	for range 3 {
		add(20)
		stop()
		_, stop = troupeServer(t, url[len("http://"):], st)
	}
	defer func() { stop() }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, got := range followed {
		if got != want {
			t.Fatalf("count %d came, want %d", got, want)
		}
		want++
	}
	if gaps > 0 {
		t.Errorf("%d gaps", gaps)
	}
}
