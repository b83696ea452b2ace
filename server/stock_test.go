// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/gen/go/agent/v1/agentv1connect"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
)

// stock makes clients of one service by stock transports of every protocol.
func stock[C any](b *bundle, newClient func(*connect.Client) C) map[string]C {
	client := func(httpClient *http.Client, options ...connecthttp.Option) C {
		return newClient(connect.NewClient(connecthttp.NewTransport(httpClient, b.url, options...)))
	}
	return map[string]C{
		"connect-proto-h1": client(b.h1),
		"connect-json-h1":  client(b.h1, connecthttp.WithProtoJSON()),
		"connect-get-h1":   client(b.h1, connecthttp.WithHTTPGet()),
		"connect-gzip-h1":  client(b.h1, connecthttp.WithSendGzip()),
		"connect-proto-h2": client(b.h2),
		"grpc-h2":          client(b.h2, connecthttp.WithGRPC()),
		"grpc-json-h2":     client(b.h2, connecthttp.WithGRPC(), connecthttp.WithProtoJSON()),
		"grpc-web-h1":      client(b.h1, connecthttp.WithGRPCWeb()),
		"grpc-web-json-h1": client(b.h1, connecthttp.WithGRPCWeb(), connecthttp.WithProtoJSON()),
	}
}

// counters returns a stock client of the counters.
func (b *bundle) counters() counterv1connect.CounterClient {
	return counterv1connect.NewCounterClient(connect.NewClient(connecthttp.NewTransport(b.h1, b.url)))
}

func (b *bundle) clients() map[string]counterv1connect.CounterClient {
	return stock(b, counterv1connect.NewCounterClient)
}

func (b *bundle) talkerClients() map[string]agentv1connect.AssistantClient {
	return stock(b, agentv1connect.NewAssistantClient)
}

func (b *bundle) watchers() map[string]troupev1connect.ActorServiceClient {
	return stock(b, troupev1connect.NewActorServiceClient)
}
