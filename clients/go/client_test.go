// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/google/go-cmp/cmp"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
)

func countingServer(t testing.TB) *fakeServer {
	s := &fakeServer{
		increment: func(ctx context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
			if info, ok := connect.CallInfoForServerContext(ctx); ok {
				info.ResponseHeader().Set("actor-id", "a1")
			}
			return &counterv1.IncrementResponse{Count: req.GetAmount()}, nil
		},
		get: func(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) {
			return &counterv1.GetResponse{Count: 7}, nil
		},
	}
	return s.start(t)
}

// TestAddressOnTheWire checks the metadata that each way to bind an actor sends.
func TestAddressOnTheWire(t *testing.T) {
	t.Parallel()
	input := &counterv1.CounterInput{Initial: 5}
	encoded, err := proto.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	binary := connect.EncodeBinaryHeader(encoded)
	tests := map[string]struct {
		bind func(*troupe.Client) *connect.Client
		opts []troupe.Option
		want map[string]string
	}{
		"get or create": {
			bind: func(c *troupe.Client) *connect.Client { return c.GetOrCreate("acme", "a/b", "", "~x", "é") },
			want: map[string]string{"Actor-Key": "acme/a%2Fb/~/~~x/%C3%A9"},
		},
		"the empty key": {
			bind: func(c *troupe.Client) *connect.Client { return c.GetOrCreate() },
			want: map[string]string{},
		},
		"get": {
			bind: func(c *troupe.Client) *connect.Client { return c.Get("k") },
			want: map[string]string{"Actor-Key": "k", "Actor-Resolve": "get"},
		},
		"create": {
			bind: func(c *troupe.Client) *connect.Client { return c.Create("k") },
			want: map[string]string{"Actor-Key": "k", "Actor-Resolve": "create"},
		},
		"id": {
			bind: func(c *troupe.Client) *connect.Client { return c.ForID("17-abc") },
			opts: []troupe.Option{troupe.WithNamespace("tenant")},
			want: map[string]string{"Actor-Id": "17-abc", "Actor-Namespace": "tenant"},
		},
		"everything": {
			bind: func(c *troupe.Client) *connect.Client {
				return c.Bind(troupe.Address{
					Key: []string{"k"}, Namespace: "other", Resolve: troupe.Create, Input: input, Params: input,
				})
			},
			opts: []troupe.Option{troupe.WithNamespace("tenant")},
			want: map[string]string{
				"Actor-Key": "k", "Actor-Namespace": "other", "Actor-Resolve": "create",
				"Actor-Input-Bin": binary, "Actor-Params-Bin": binary,
			},
		},
		"headers": {
			bind: func(c *troupe.Client) *connect.Client { return c.GetOrCreate("k") },
			opts: []troupe.Option{
				troupe.WithHeader("Authorization", "Bearer x"),
				troupe.WithHeaders(func(_ context.Context, h *connect.Header) error { h.Set("X-Trace", "1"); return nil }),
			},
			want: map[string]string{"Actor-Key": "k", "Authorization": "Bearer x", "X-Trace": "1"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := countingServer(t)
			client := troupe.Dial(s.url, test.opts...)
			defer client.Close()
			counter := counterv1connect.NewCounterClient(test.bind(client))
			if _, err := counter.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1}); err != nil {
				t.Fatal(err)
			}
			got := make(map[string]string)
			for name, values := range s.seen()[0].header {
				if strings.HasPrefix(name, "Actor-") || name == "Authorization" || name == "X-Trace" {
					got[name] = strings.Join(values, ",")
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWrongAddress checks that what cannot be sent is an error of the first call,
// and that nothing is sent.
func TestWrongAddress(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*troupe.Client) *connect.Client{
		"long segment":  func(c *troupe.Client) *connect.Client { return c.GetOrCreate(strings.Repeat("x", 129)) },
		"many segments": func(c *troupe.Client) *connect.Client { return c.Get(make([]string, 33)...) },
		"not UTF-8":     func(c *troupe.Client) *connect.Client { return c.Create("\xff") },
		"empty id":      func(c *troupe.Client) *connect.Client { return c.ForID("") },
		"bad id":        func(c *troupe.Client) *connect.Client { return c.ForID("a\nb") },
		"key and id": func(c *troupe.Client) *connect.Client {
			return c.Bind(troupe.Address{Key: []string{"k"}, ID: "a"})
		},
		"resolve": func(c *troupe.Client) *connect.Client { return c.Bind(troupe.Address{Resolve: "maybe"}) },
		"input of get": func(c *troupe.Client) *connect.Client {
			return c.Bind(troupe.Address{Resolve: troupe.Get, Input: &counterv1.CounterInput{}})
		},
		"namespace": func(c *troupe.Client) *connect.Client { return c.Bind(troupe.Address{Namespace: "No"}) },
		"large params": func(c *troupe.Client) *connect.Client {
			return c.Bind(troupe.Address{Params: &troupev1.Address{Id: strings.Repeat("x", 4096)}})
		},
	}
	for name, bind := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := countingServer(t)
			client := troupe.Dial(s.url)
			counter := counterv1connect.NewCounterClient(bind(client))
			_, err := counter.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
			if connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("error %v, want invalid_argument", err)
			}
			if got := troupe.OutcomeOf(err); got != notExecuted {
				t.Errorf("outcome %v, want %v", got, notExecuted)
			}
			if n := len(s.seen()); n != 0 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}

func TestWrongURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "localhost:8080", "ftp://x", "http://", "http://[::1", "http://x:y"} {
		counter := counterv1connect.NewCounterClient(troupe.Dial(url).GetOrCreate("k"))
		_, err := counter.Get(t.Context(), &counterv1.GetRequest{})
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%q: error %v, want invalid_argument", url, err)
		}
	}
}

// TestOneCallInfoForTwoActors checks that the address of one call does not leak
// into the next one made with the same metadata.
func TestOneCallInfoForTwoActors(t *testing.T) {
	t.Parallel()
	s := countingServer(t)
	client := troupe.Dial(s.url)
	defer client.Close()
	ctx, info := connect.NewClientContext(t.Context())
	info.RequestHeader().Set("X-Mine", "kept")
	for _, bound := range []*connect.Client{
		client.Bind(troupe.Address{Key: []string{"k"}, Namespace: "n", Resolve: troupe.Create}),
		client.ForID("a1"),
	} {
		if _, err := counterv1connect.NewCounterClient(bound).Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
			t.Fatal(err)
		}
		if got := info.ResponseHeader().Get("actor-id"); got != "a1" {
			t.Errorf("response metadata actor-id = %q", got)
		}
	}
	second := s.seen()[1].header
	for _, name := range []string{"Actor-Key", "Actor-Namespace", "Actor-Resolve"} {
		if second.Get(name) != "" {
			t.Errorf("%s of the first call leaked into the second", name)
		}
	}
	if second.Get("X-Mine") != "kept" || second.Get("Actor-Id") != "a1" {
		t.Errorf("second call sent %v", second)
	}
}

func TestHeaderErrorFailsTheCall(t *testing.T) {
	t.Parallel()
	s := countingServer(t)
	broken := errors.New("no token")
	client := troupe.Dial(s.url, troupe.WithHeaders(func(context.Context, *connect.Header) error { return broken }))
	counter := counterv1connect.NewCounterClient(client.GetOrCreate("k"))
	if _, err := counter.Get(t.Context(), &counterv1.GetRequest{}); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if n := len(s.seen()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// TestProtocols calls over every protocol and HTTP version that a client can choose.
func TestProtocols(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		opts  []troupe.Option
		proto string
	}{
		"default": {nil, "HTTP/1.1"},
		"h2c":     {[]troupe.Option{troupe.WithHTTP2()}, "HTTP/2.0"},
		"grpc":    {[]troupe.Option{troupe.WithHTTP2(), troupe.WithConnectOptions(connecthttp.WithGRPC())}, "HTTP/2.0"},
		"grpcweb": {[]troupe.Option{troupe.WithConnectOptions(connecthttp.WithGRPCWeb())}, "HTTP/1.1"},
		"json":    {[]troupe.Option{troupe.WithConnectOptions(connecthttp.WithProtoJSON())}, "HTTP/1.1"},
		"http get": {
			[]troupe.Option{troupe.WithConnectOptions(connecthttp.WithHTTPGet())}, "HTTP/1.1",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := countingServer(t)
			client := troupe.Dial(s.url, test.opts...)
			defer client.Close()
			counter := counterv1connect.NewCounterClient(client.GetOrCreate("a", "b"))
			reply, err := counter.Get(t.Context(), &counterv1.GetRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if reply.GetCount() != 7 {
				t.Errorf("count %d, want 7", reply.GetCount())
			}
			if got := s.seen()[0]; got.proto != test.proto || got.header.Get("Actor-Key") != "a/b" {
				t.Errorf("%s with key %q, want %s with a/b", got.proto, got.header.Get("Actor-Key"), test.proto)
			}
		})
	}
}

func TestOwnHTTPClient(t *testing.T) {
	t.Parallel()
	s := countingServer(t)
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	client := troupe.Dial(s.url, troupe.WithHTTPClient(&http.Client{Transport: transport}))
	client.Close() // does nothing
	counter := counterv1connect.NewCounterClient(client.GetOrCreate("a"))
	if _, err := counter.Get(t.Context(), &counterv1.GetRequest{}); err != nil {
		t.Fatal(err)
	}
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	s := countingServer(t)
	client := troupe.Dial(s.url, troupe.WithNamespace("tenant"))
	defer client.Close()
	reply, err := client.Actors().Resolve(t.Context(), &troupev1.ResolveRequest{
		Address: client.Address(counterv1connect.CounterName, "a", "b"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := reply.GetId(), "tenant|counter.v1.Counter|a|b"; got != want {
		t.Errorf("resolved %q, want %q", got, want)
	}
	if h := s.seen()[0].header; h.Get("Actor-Key") != "" || h.Get("Actor-Namespace") != "" {
		t.Errorf("the lifecycle call carries an address: %v", h)
	}
}
