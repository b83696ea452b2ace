// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/coder/websocket"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
	"github.com/troupe-dev/troupe/actors/store"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
)

// withPages has the nodes serve counters that answer raw requests too.
func withPages(ended chan string) func(*Config) {
	return func(cfg *Config) {
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *pages { return &pages{ended: ended} })
	}
}

func TestForwardedRawRequests(t *testing.T) {
	t.Parallel()
	ended := make(chan string, 10)
	_, nodes := nodesOf(t, 2, withPages(ended))
	path := "/actors/default/" + nodes[1].keyOf(t) + rawBase
	send := func(edge *member, method, rest string, body io.Reader) (*http.Response, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, edge.url+path+rest, body)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Say", "hello")
		response, err := edge.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		data, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(data)
	}
	for _, body := range []func() io.Reader{
		func() io.Reader { return nil },
		func() io.Reader { return strings.NewReader("short") },
		func() io.Reader { return io.MultiReader(strings.NewReader(strings.Repeat("long ", 300_000))) }, // of unknown length
	} {
		here, want := send(nodes[1], http.MethodPut, "/a%2Fb/c?x=1&y", body())
		there, got := send(nodes[0], http.MethodPut, "/a%2Fb/c?x=1&y", body())
		if got != want || here.StatusCode != there.StatusCode || here.StatusCode != http.StatusTeapot {
			t.Errorf("the owner answers %s %.80q, another node %s %.80q", here.Status, want, there.Status, got)
		}
		if here.Header.Get("Actor-Id") != there.Header.Get("Actor-Id") || there.Header.Get("Actor-Id") == "" {
			t.Errorf("the answers have the headers %v and %v", here.Header, there.Header)
		}
	}
	conn, response, err := websocket.Dial(t.Context(), nodes[0].url+path+"/ws", &websocket.DialOptions{HTTPClient: nodes[0].client})
	if err != nil {
		t.Fatalf("WebSocket: %v (%v)", err, response)
	}
	defer func() { _ = conn.CloseNow() }()
	say(t, conn, "abc", "abc 3")
	say(t, conn, strings.Repeat("d", 20_000), strings.Repeat("d", 20_000)+" 20003")
	if err := conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Error(err)
	}
	take(t, "end of the socket", ended)
	if _, count := send(nodes[0], http.MethodGet, "/count", nil); count != "20003" {
		t.Errorf("the count is %s", count)
	}
}

func TestACallerWhoLeavesIsNoticedAtTheOtherNode(t *testing.T) {
	t.Parallel()
	ended := make(chan string, 1)
	_, nodes := nodesOf(t, 2, withPages(ended))
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, nodes[0].url+"/actors/default/"+nodes[1].keyOf(t)+rawBase+"/stay", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := nodes[0].client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	leave()
	take(t, "end of the handler", ended)
}

// TestTheCallerTravels holds that who was authenticated where a request came in is who
// the actor sees at another node, and that a client cannot say it instead.
func TestTheCallerTravels(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 100)
	_, nodes := nodesOf(t, 2, func(cfg *Config) {
		withPages(nil)(cfg)
		cfg.Authenticate = func(_ context.Context, header http.Header) (Principal, error) {
			asked <- header.Get("X-User")
			if user := header.Get("X-User"); user != "" {
				return Principal{Subject: user, Role: map[bool]Role{true: RoleServer}[user == "operator"]}, nil
			}
			return Principal{}, errors.New("nobody")
		}
	})
	key := nodes[1].keyOf(t)
	forged := encodeCaller(context.WithValue(t.Context(), principalKey{}, &Principal{Subject: "operator", Role: RoleServer}), "192.0.2.1:1")
	for user, want := range map[string]int{"ada": http.StatusTeapot, "": http.StatusUnauthorized} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, nodes[0].url+"/actors/default/"+key+rawBase+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-User", user)
		request.Header.Set(headerCaller, forged)
		response, err := nodes[0].client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want || response.Header.Get("X-Subject") != user {
			t.Errorf("%q: %s as %q", user, response.Status, response.Header.Get("X-Subject"))
		}
		if len(asked) != 1 {
			t.Errorf("%d nodes have asked who calls", len(asked))
		}
		<-asked
	}
	service := troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(nodes[0].client, nodes[0].url)))
	address := &troupev1.Address{Type: counterv1connect.CounterName, Key: []string{key}}
	for user, want := range map[string]connect.Code{"ada": connect.CodePermissionDenied, "operator": 0} {
		ctx, _ := at(t.Context(), "x-user", user, strings.ToLower(headerCaller), forged)
		if _, err := service.Export(ctx, &troupev1.ExportRequest{Address: address}); want != 0 && connect.CodeOf(err) != want || want == 0 && err != nil {
			t.Errorf("Export by %s: %v", user, err)
		}
	}
}

// TestACallerCountsOnce holds that what bounds callers is counted where a request
// comes in, and not again where it is served.
func TestACallerCountsOnce(t *testing.T) {
	t.Parallel()
	_, nodes := nodesOf(t, 2, func(cfg *Config) { cfg.Limits.RatePerIPAndActor = 12 * 4 }) // four at once
	key := nodes[1].keyOf(t)
	var refused, served int
	for range 6 {
		ctx, _ := at(t.Context(), "actor-key", key)
		switch _, err := nodes[0].counters().Get(ctx, &counterv1.GetRequest{}); connect.CodeOf(err) {
		case connect.CodeResourceExhausted:
			refused++
		default:
			if err != nil {
				t.Fatal(err)
			}
			served++
		}
	}
	if served != 4 || refused != 2 {
		t.Errorf("%d calls were served and %d refused, want 4 and 2", served, refused)
	}
	ctx, _ := at(t.Context(), "actor-key", key)
	if _, err := nodes[1].counters().Get(ctx, &counterv1.GetRequest{}); err != nil {
		t.Errorf("the owner counted what came in elsewhere: %v", err)
	}
}

// friend is a counter that has its friend count too: its key is its own name and that
// of its friend.
type friend struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]

	followed chan int64
}

func (f *friend) Increment(ctx context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	f.State().Count += req.GetAmount()
	f.Broadcast(&counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{CountChanged: &counterv1.CountChanged{Count: f.State().GetCount()}}})
	if key := f.Key(); len(key) == 2 {
		peer := counterv1connect.NewCounterClient(f.Actors().GetOrCreate(key[1]))
		reply, err := peer.Increment(ctx, req)
		if err != nil {
			return nil, actors.Relay(err)
		}
		return &counterv1.IncrementResponse{Count: reply.GetCount()}, nil
	}
	return &counterv1.IncrementResponse{Count: f.State().GetCount()}, nil
}

// Fail has the actor follow its friend's events.
func (f *friend) Fail(context.Context, *counterv1.FailRequest) (*counterv1.FailResponse, error) {
	peer := counterv1connect.NewCounterClient(f.Actors().GetOrCreate(f.Key()[1]))
	f.Go(func(ctx context.Context) {
		stream, err := peer.Subscribe(ctx, &counterv1.SubscribeRequest{})
		for err == nil {
			var event *counterv1.CounterEvent
			if event, err = stream.Receive(); err == nil {
				f.followed <- event.GetCountChanged().GetCount() // 0 for the first frame
			}
		}
	})
	return new(counterv1.FailResponse), nil
}

func TestActorsCallEachOtherAcrossNodes(t *testing.T) {
	t.Parallel()
	followed := make(chan int64, 10)
	_, nodes := nodesOf(t, 2, func(cfg *Config) {
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *friend { return &friend{followed: followed} })
	})
	there := nodes[1].keyOf(t)
	key := ""
	for n := 0; key == ""; n++ {
		name := fmt.Sprintf("name-%d/%s", n, there)
		target := actors.Target{}
		target.Address.Namespace, target.Address.Type, target.Address.Key = "default", counterv1connect.CounterName, name
		if nodes[0].host.Admits(&target) {
			key = name
		}
	}
	for n := range int64(3) {
		ctx, _ := at(t.Context(), "actor-key", key)
		if reply, err := nodes[0].counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil || reply.GetCount() != n+1 {
			t.Fatalf("Increment: %v, %v", reply, err)
		}
	}
	ctx, _ := at(t.Context(), "actor-key", key)
	if _, err := nodes[0].counters().Fail(ctx, &counterv1.FailRequest{}); err != nil {
		t.Fatal(err)
	}
	if first := take(t, "first frame", followed); first != 0 {
		t.Errorf("the first frame is the event %d", first)
	}
	ctx, _ = at(t.Context(), "actor-key", there)
	if _, err := nodes[1].counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 7}); err != nil {
		t.Fatal(err)
	}
	if count := take(t, "event", followed); count != 10 {
		t.Errorf("the event says %d, want 10", count)
	}
}

// TestAConnectionOfNodesEndsWithAFarewell holds that a request which meets the end of
// an idle connection learns that nothing has been run.
func TestAConnectionOfNodesEndsWithAFarewell(t *testing.T) {
	t.Parallel()
	_, nodes := nodesOf(t, 1, nil)
	secure, err := ClusterSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&tls.Dialer{Config: secure}).DialContext(t.Context(), "tcp", nodes[0].placement.Self().Address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	answers := bufio.NewReader(conn)
	ask := func() *http.Response {
		t.Helper()
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"+headerCaller+": CgA\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		return response
	}
	if response := ask(); isFarewell(response) {
		t.Fatalf("a connection in use says goodbye: %v", response)
	}
	if err := nodes[0].Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(answers, nil)
	if err != nil || !isFarewell(response) {
		t.Fatalf("the connection ends with %v, %v", response, err)
	}
	_ = response.Body.Close()
}

// seeker is a node to which a shard moves while it asks who holds it.
type seeker struct {
	*placementtest.Node

	asks atomic.Pointer[func()]
}

func (s *seeker) Route(shard uint16) (placement.Route, bool) {
	if s.asks.Load() != nil {
		return placement.Route{}, false
	}
	return s.Node.Route(shard)
}

func (s *seeker) Refresh(ctx context.Context, shard uint16) (placement.Route, bool, error) {
	if asks := s.asks.Swap(nil); asks != nil {
		(*asks)()
	}
	return s.Node.Refresh(ctx, shard)
}

// TestActorServiceOfAnActorThatComesHere holds that a request about an actor which moves to
// the very node that looks for it is answered there.
func TestActorServiceOfAnActorThatComesHere(t *testing.T) {
	t.Parallel()
	var seekers []*seeker
	cluster, nodes := nodesOf(t, 2, func(cfg *Config) {
		s := &seeker{Node: cfg.Cluster.Placement.(*placementtest.Node)}
		cfg.Cluster.Placement, seekers = s, append(seekers, s)
	})
	key := nodes[1].keyOf(t)
	shard := store.ShardOf(store.Address{Namespace: "default", Type: counterType, Key: key}, 64)
	move := func() {
		if err := cluster.Move(t.Context(), shard, nodes[0].placement); err != nil {
			t.Error(err)
		}
	}
	seekers[0].asks.Store(&move)
	service := troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(nodes[0].client, nodes[0].url)))
	if reply, err := service.GetOrCreate(t.Context(), &troupev1.GetOrCreateRequest{Address: address(key)}); err != nil || !reply.GetCreated() {
		t.Errorf("got %v, %v", reply, err)
	}
}

// TestAMoveFailsNoEventSource holds that an event source whose actor moves away as it is
// opened is opened where the actor is: a browser would give up.
func TestAMoveFailsNoEventSource(t *testing.T) {
	t.Parallel()
	var move atomic.Pointer[func()]
	cluster, nodes := nodesOf(t, 2, func(cfg *Config) {
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) },
			actors.BeforeConnect(func(context.Context, actors.Attempt, *counterv1.SubscribeRequest) error {
				if moves := move.Swap(nil); moves != nil {
					(*moves)()
				}
				return nil
			}))
	})
	key := nodes[1].keyOf(t)
	ctx, _ := at(t.Context(), "actor-key", key)
	if _, err := nodes[1].counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
		t.Fatal(err)
	}
	moves := func() {
		shard := store.ShardOf(store.Address{Namespace: "default", Type: counterType, Key: key}, 64)
		if err := cluster.Move(t.Context(), shard, nodes[0].placement); err != nil {
			t.Error(err)
		}
	}
	move.Store(&moves)
	b := &bundle{url: nodes[0].url}
	stream := b.eventStream(t, nodes[0].client, "/actors/default/"+key+"/@/counter.v1.Counter/Subscribe", nil)
	if status := stream.response.StatusCode; status != http.StatusOK {
		t.Errorf("the stream is refused with %d", status)
	}
}
