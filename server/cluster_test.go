// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
)

const testSecret = "a secret that the nodes of these tests share"

// member is one node of a cluster of tests.
type member struct {
	*Server
	placement *placementtest.Node
	url       string
	client    *http.Client
	logs      *logBuffer
}

// nodesOf starts a cluster of so many nodes over one store in memory, which hold about
// as many of its 64 shards each.
func nodesOf(t *testing.T, n int, change func(*Config)) (*placementtest.Cluster, []*member) {
	t.Helper()
	cluster := placementtest.NewCluster(64)
	shared := memory.New(memory.Options{Shards: 64})
	t.Cleanup(func() { _ = shared.Close() })
	nodes := make([]*member, n)
	for i := range nodes {
		nodes[i] = newMember(t, cluster, shared, fmt.Sprintf("node-%d", i), change)
	}
	t.Cleanup(cluster.Close)
	eventually(t, "every shard is held and every node holds its share", func() bool {
		for shard := range uint16(64) {
			held := 0
			for _, node := range nodes {
				if node.placement.Holds(shard) {
					held++
				}
			}
			if held != 1 {
				return false
			}
		}
		for _, node := range nodes {
			status, err := node.placement.Nodes(t.Context())
			if err != nil || len(status) != n {
				return false
			}
			for _, one := range status {
				if one.Shards < 64/n-1 {
					return false
				}
			}
		}
		return true
	})
	return cluster, nodes
}

func newMember(t *testing.T, cluster *placementtest.Cluster, shared store.Store, id string, change func(*Config)) *member {
	t.Helper()
	listen := func() net.Listener {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return listener
	}
	public, private := listen(), listen()
	secure, err := ClusterSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{
		placement: cluster.Node(placement.Node{ID: id, Address: private.Addr().String()}),
		url:       "http://" + public.Addr().String(),
		client:    &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		logs:      new(logBuffer),
	}
	cfg := Config{
		Registry: newRegistry(), Store: shared, Listen: public.Addr().String(),
		Logger:  slog.New(slog.NewTextHandler(m.logs, nil)),
		Cluster: &Cluster{Placement: m.placement, TLS: secure},
	}
	if change != nil {
		change(&cfg)
	}
	if m.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 2)
	go func() { served <- m.ServeNodes(private) }()
	go func() { served <- m.Serve(public) }()
	t.Cleanup(func() {
		m.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		for range 2 {
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		}
		if t.Failed() {
			t.Logf("%s:\n%s", id, m.logs)
		}
	})
	return m
}

// eventually waits for something that others bring about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(30 * time.Second)
	for !is() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// keyOf returns the key of a counter that a node runs.
func (m *member) keyOf(t *testing.T) string {
	t.Helper()
	for n := range 10_000 {
		key := fmt.Sprintf("key-%d", n)
		if m.placement.Holds(store.ShardOf(store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: key}, 64)) {
			return key
		}
	}
	t.Fatal("the node holds nothing")
	return ""
}

func (m *member) counters(options ...connecthttp.Option) counterv1connect.CounterClient {
	return counterv1connect.NewCounterClient(connect.NewClient(connecthttp.NewTransport(m.client, m.url, options...)))
}

func TestACallReachesTheNodeThatRunsItsActor(t *testing.T) {
	t.Parallel()
	_, nodes := nodesOf(t, 3, nil)
	for i, owner := range nodes {
		key := owner.keyOf(t)
		want := int64(0)
		for _, edge := range nodes {
			for _, options := range [][]connecthttp.Option{nil, {connecthttp.WithProtoJSON()}, {connecthttp.WithGRPCWeb()}, {connecthttp.WithSendGzip()}} {
				want++
				ctx, info := at(t.Context(), "actor-key", key)
				reply, err := edge.counters(options...).Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
				if err != nil {
					t.Fatalf("Increment at %s: %v", edge.url, err)
				}
				if reply.GetCount() != want {
					t.Errorf("node %d: the count is %d, want %d", i, reply.GetCount(), want)
				}
				if info.ResponseHeader().Get("actor-id") == "" || info.ResponseHeader().Get("actor-cursor") == "" {
					t.Errorf("the reply lacks metadata: %v", info.ResponseHeader())
				}
			}
		}
	}
}

func TestForwardedErrorsArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	_, nodes := nodesOf(t, 2, nil)
	key := nodes[1].keyOf(t)
	for _, options := range [][]connecthttp.Option{nil, {connecthttp.WithGRPCWeb()}} {
		ctx, _ := at(t.Context(), "actor-key", key)
		_, here := nodes[1].counters(options...).Fail(ctx, &counterv1.FailRequest{})
		ctx, _ = at(t.Context(), "actor-key", key)
		_, there := nodes[0].counters(options...).Fail(ctx, &counterv1.FailRequest{})
		if connect.CodeOf(here) != connect.CodeFailedPrecondition || here.Error() != there.Error() {
			t.Errorf("the owner says %v, the other node %v", here, there)
		}
	}
}

func TestForwardedGRPC(t *testing.T) {
	t.Parallel()
	_, nodes := nodesOf(t, 2, nil)
	key := nodes[1].keyOf(t)
	plain := new(http.Protocols)
	plain.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: plain}}
	t.Cleanup(client.CloseIdleConnections)
	counters := counterv1connect.NewCounterClient(connect.NewClient(connecthttp.NewTransport(client, nodes[0].url, connecthttp.WithGRPC())))
	ctx, _ := at(t.Context(), "actor-key", key)
	if reply, err := counters.Increment(ctx, &counterv1.IncrementRequest{Amount: 3}); err != nil || reply.GetCount() != 3 {
		t.Fatalf("Increment: %v, %v", reply, err)
	}
	ctx, _ = at(t.Context(), "actor-key", key)
	if _, err := counters.Fail(ctx, &counterv1.FailRequest{}); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Fatalf("Fail: %v", err)
	}
}

func TestForwardedSubscription(t *testing.T) {
	t.Parallel()
	cluster, nodes := nodesOf(t, 2, nil)
	key := nodes[1].keyOf(t)
	ctx, _ := at(t.Context(), "actor-key", key)
	stream, err := nodes[0].counters().Subscribe(ctx, &counterv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	opened, err := stream.Receive()
	if err != nil || opened.GetInfo().GetOpened() == nil {
		t.Fatalf("the first frame is %v, %v", opened, err)
	}
	ctx, _ = at(t.Context(), "actor-key", key)
	if _, err := nodes[0].counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 2}); err != nil {
		t.Fatal(err)
	}
	event, err := stream.Receive()
	if err != nil || event.GetCountChanged().GetCount() != 2 {
		t.Fatalf("the event is %v, %v", event, err)
	}
	// The actor moves: the stream ends with its place.
	shard := store.ShardOf(store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: key}, 64)
	if err := cluster.Move(t.Context(), shard, nodes[0].placement); err != nil {
		t.Fatal(err)
	}
	closing, err := stream.Receive()
	if err != nil || closing.GetInfo().GetClosing().GetReason() != troupev1.CloseReason_CLOSE_REASON_MOVED {
		t.Fatalf("the last frame is %v, %v", closing, err)
	}
	if closing.GetInfo().GetCursor() != event.GetInfo().GetCursor() || closing.GetInfo().GetClosing().GetReconnectAfter() == nil {
		t.Errorf("the stream ends without its place: %v", closing)
	}
}

func TestActorServiceOfAnotherNode(t *testing.T) {
	t.Parallel()
	_, nodes := nodesOf(t, 2, nil)
	service := troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(nodes[0].client, nodes[0].url)))
	address := func(key string) *troupev1.Address {
		return &troupev1.Address{Type: counterv1connect.CounterName, Key: []string{key}}
	}
	for _, owner := range nodes {
		key := owner.keyOf(t)
		created, err := service.Create(t.Context(), &troupev1.CreateRequest{Address: address(key)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := service.Create(t.Context(), &troupev1.CreateRequest{Address: address(key)}); connect.CodeOf(err) != connect.CodeAlreadyExists {
			t.Errorf("a second Create: %v", err)
		}
		got, err := service.Get(t.Context(), &troupev1.GetRequest{Address: &troupev1.Address{Id: created.GetActor().GetId()}})
		if err != nil || got.GetActor().GetKey()[0] != key || !got.GetActor().GetAwake() {
			t.Errorf("Get: %v, %v", got, err)
		}
	}
	list, err := service.List(t.Context(), &troupev1.ListRequest{})
	if err != nil || len(list.GetActors()) != 2 {
		t.Fatalf("List: %v, %v", list, err)
	}
	for _, actor := range list.GetActors() {
		here := actor.GetKey()[0] == nodes[0].keyOf(t)
		if (actor.GetStatus() == troupev1.Actor_STATUS_AWAKE) != here || (actor.GetStatus() == troupev1.Actor_STATUS_UNSPECIFIED) == here {
			t.Errorf("List says of %v: %v", actor.GetKey(), actor.GetStatus())
		}
	}
	for _, owner := range nodes {
		if _, err := service.Destroy(t.Context(), &troupev1.DestroyRequest{Address: address(owner.keyOf(t))}); err != nil {
			t.Errorf("Destroy: %v", err)
		}
	}
}

func TestAMoveFailsNoCall(t *testing.T) {
	t.Parallel()
	cluster, nodes := nodesOf(t, 2, nil)
	key := nodes[1].keyOf(t)
	shard := store.ShardOf(store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: key}, 64)
	const callers, calls = 8, 60
	results := make(chan error, callers)
	for n := range callers {
		go func() {
			for range calls {
				ctx, _ := at(t.Context(), "actor-key", key)
				if _, err := nodes[n%2].counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
					results <- err
					return
				}
			}
			results <- nil
		}()
	}
	for n := range 6 {
		if err := cluster.Move(t.Context(), shard, nodes[n%2].placement); err != nil {
			t.Fatal(err)
		}
	}
	for range callers {
		if err := <-results; err != nil {
			t.Errorf("a call failed: %v", err)
		}
	}
	ctx, _ := at(t.Context(), "actor-key", key)
	reply, err := nodes[0].counters().Get(ctx, &counterv1.GetRequest{})
	if err != nil || reply.GetCount() != callers*calls {
		t.Errorf("the count is %v, %v; want %d", reply, err, callers*calls)
	}
}

func TestANodeThatStopsHandsOver(t *testing.T) {
	t.Parallel()
	_, nodes := nodesOf(t, 3, nil)
	key := nodes[2].keyOf(t)
	ctx, _ := at(t.Context(), "actor-key", key)
	if _, err := nodes[0].counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 5}); err != nil {
		t.Fatal(err)
	}
	if err := nodes[2].Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, edge := range nodes[:2] {
		ctx, _ := at(t.Context(), "actor-key", key)
		if reply, err := edge.counters().Get(ctx, &counterv1.GetRequest{}); err != nil || reply.GetCount() != 5 {
			t.Errorf("Get: %v, %v", reply, err)
		}
	}
}

func TestNodesOfAnotherSecretAreRefused(t *testing.T) {
	t.Parallel()
	_, nodes := nodesOf(t, 1, nil)
	address := nodes[0].placement.Self().Address
	foreign, err := ClusterSecret(strings.Repeat("another secret ", 4))
	if err != nil {
		t.Fatal(err)
	}
	own, err := ClusterSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	anonymous := own.Clone()
	anonymous.Certificates = nil
	foreign.VerifyConnection, anonymous.VerifyConnection = nil, nil
	for name, transport := range map[string]*http.Transport{
		"another secret": {TLSClientConfig: foreign},
		"no certificate": {TLSClientConfig: anonymous},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := transport.RoundTrip(request); err == nil {
			_ = response.Body.Close()
			t.Errorf("%s: the node answers with %s", name, response.Status)
		}
		transport.CloseIdleConnections()
	}
	if _, err := ClusterSecret("too short"); err == nil {
		t.Error("a short secret is taken")
	}
}
