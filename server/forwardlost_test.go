// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
)

// tally is a counter that counts what it is asked, by calls and by raw requests.
type tally struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]

	asked *atomic.Int64
}

func (c *tally) Increment(context.Context, *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	return &counterv1.IncrementResponse{Count: c.asked.Add(1)}, nil
}

func (c *tally) ServeHTTP(http.ResponseWriter, *http.Request) { c.asked.Add(1) }

// frailty has the connection to another node end in place of the next answer.
type frailty struct {
	next   atomic.Bool
	deadly bool // no other connection comes about
	silent bool // the connection does not end, but says nothing more
	dead   atomic.Bool
}

// endure puts the frailty into the connections that a node makes.
func (f *frailty) endure(edge *member) {
	dial := edge.cluster.http.DialTLSContext
	edge.cluster.http.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if f.dead.Load() {
			address = "127.0.0.1:1" // nobody listens there
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &frailConn{conn, f}, nil
	}
}

type frailConn struct {
	net.Conn
	*frailty
}

// Read implements [io.Reader].
func (c *frailConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.next.Swap(false) {
		c.dead.Store(c.deadly)
		for c.silent && err == nil {
			_, err = c.Conn.Read(p)
		}
		return 0, io.EOF
	}
	return n, err
}

// TestARequestWhoseAnswerIsLost has another node run a request and then die, or only the
// connection to it: net/http sends some requests again by itself.
func TestARequestWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	const increment = "/" + counterv1connect.CounterName + "/Increment"
	tests := map[string]struct {
		method, path, body string // with the key in place of %s
		header, value      string
		repeated           bool // by net/http, which takes it for harmless
	}{
		"a key":                 {http.MethodPost, increment, `{"amount":"1"}`, "Idempotency-Key", "mine", false},
		"an empty key":          {http.MethodPost, increment, `{"amount":"1"}`, "Idempotency-Key", "", false},
		"a key of others":       {http.MethodPost, increment, `{"amount":"1"}`, "X-Idempotency-Key", "theirs", false},
		"no key":                {http.MethodPost, increment, `{"amount":"1"}`, "X-Say", "nothing", false},
		"a raw POST":            {http.MethodPost, "/actors/default/%s" + rawBase + "/", "", "Idempotency-Key", "mine", false},
		"a raw GET":             {http.MethodGet, "/actors/default/%s" + rawBase + "/", "", "X-Say", "nothing", true},
		"a request of services": {http.MethodPost, "/" + troupev1connect.ActorServiceName + "/Destroy", `{"address":{"type":"` + counterv1connect.CounterName + `","key":["%s"]}}`, "Idempotency-Key", "mine", false},
	}
	for name, test := range tests {
		for _, deadly := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, deadly %t", name, deadly), func(t *testing.T) {
				t.Parallel()
				var asked atomic.Int64
				_, nodes := nodesOf(t, 2, func(cfg *Config) {
					cfg.Registry = actors.NewRegistry()
					actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *tally { return &tally{asked: &asked} })
				})
				key := nodes[1].keyOf(t)
				lost := &frailty{deadly: deadly}
				lost.endure(nodes[0])
				send := func(method, path, body string, header http.Header) failure {
					t.Helper()
					request, err := http.NewRequestWithContext(t.Context(), method, nodes[0].url+path, strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					request.Header = header
					if body != "" {
						request.Header["Content-Type"] = []string{"application/json"}
					}
					if path == increment {
						request.Header["Actor-Key"] = []string{key}
					}
					response, err := nodes[0].client.Do(request)
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = response.Body.Close() }()
					data, err := io.ReadAll(response.Body)
					if err != nil {
						t.Fatal(err)
					}
					if response.StatusCode == http.StatusOK {
						return failure{status: http.StatusOK}
					}
					return readFailure(t, response, data)
				}
				if f := send(http.MethodPost, increment, `{"amount":"1"}`, http.Header{}); f.status != http.StatusOK { // so that there is a connection
					t.Fatalf("the first call: %+v", f)
				}
				before := asked.Load()
				lost.next.Store(true)
				f := send(test.method, strings.ReplaceAll(test.path, "%s", key), strings.ReplaceAll(test.body, "%s", key), http.Header{test.header: {test.value}})
				if test.repeated && !deadly {
					if f.status != http.StatusOK {
						t.Errorf("the answer is %+v", f)
					}
					return
				}
				if f.outcome != troupev1.Outcome_OUTCOME_UNKNOWN || f.reason != answerLost.reason {
					t.Errorf("the answer is %+v, want %s of unknown outcome", f, answerLost.reason)
				}
				if n := asked.Load() - before; n > 1 {
					t.Errorf("the actor was asked %d times", n)
				}
			})
		}
	}
}

// TestARequestThatMayHaveBeenRunStaysSo has the node that ran a call say nothing, and the
// one that its actor moves to be out of reach.
func TestARequestThatMayHaveBeenRunStaysSo(t *testing.T) {
	t.Parallel()
	cluster, nodes := nodesOf(t, 3, nil)
	key := nodes[1].keyOf(t)
	shard := store.ShardOf(store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: key}, 64)
	lost := &frailty{deadly: true, silent: true}
	lost.endure(nodes[0])
	lost.next.Store(true)
	failed := make(chan error, 1)
	go func() {
		ctx, _ := at(t.Context(), "actor-key", key, "idempotency-key", "mine")
		_, err := nodes[0].counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
		failed <- err
	}()
	eventually(t, "the call was run", lost.dead.Load)
	if err := cluster.Move(t.Context(), shard, nodes[2].placement); err != nil {
		t.Fatal(err)
	}
	err := take(t, "end of the call", failed)
	if !strings.Contains(fmt.Sprint(err), "has not answered") {
		t.Errorf("the call failed with %v, want %s", err, answerLost.reason)
	}
}

// TestARefusalOfTheNextNodeIsNoVerdict has the node that ran a call with an idempotency key
// say nothing, and the one that its actor moves to refuse the call before it has looked at
// the key: another node, or the one that the call came to.
func TestARefusalOfTheNextNodeIsNoVerdict(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]int{"another node": 2, "the node itself": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			var asleep atomic.Bool
			cluster, nodes := nodesOf(t, 3, func(cfg *Config) {
				cfg.Registry = actors.NewRegistry()
				actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *tally { return &tally{asked: &asked} },
					actors.OnWake(func(*tally, context.Context) error {
						if asleep.Load() {
							return errors.New("it does not wake")
						}
						return nil
					}))
			})
			key := nodes[1].keyOf(t)
			shard := store.ShardOf(store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: key}, 64)
			lost := &frailty{silent: true}
			lost.endure(nodes[0])
			lost.next.Store(true)
			failed := make(chan error, 1)
			go func() {
				ctx, _ := at(t.Context(), "actor-key", key, "idempotency-key", "mine")
				_, err := nodes[0].counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
				failed <- err
			}()
			eventually(t, "the call was run and its answer is lost", func() bool { return asked.Load() == 1 && !lost.next.Load() })
			asleep.Store(true)
			if err := cluster.Move(t.Context(), shard, nodes[next].placement); err != nil {
				t.Fatal(err)
			}
			if err := take(t, "end of the call", failed); !strings.Contains(fmt.Sprint(err), "has not answered") {
				t.Errorf("the call failed with %v, want %s", err, answerLost.reason)
			}
		})
	}
}
