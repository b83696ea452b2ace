// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actorstest_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/actorstest"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/server"
)

func TestAsIsAUser(t *testing.T) {
	t.Parallel()
	srv := actorstest.New(t, counters(new(life)), actorstest.Namespaces("default", "other"))
	mustAdd(t, counterv1connect.NewCounterClient(srv.GetOrCreate("a")), 3, 3)
	alice := srv.Dial(actorstest.As("alice"), troupe.WithNamespace("other"))
	mustAdd(t, counterv1connect.NewCounterClient(alice.GetOrCreate("a")), 1, 1)
	request := &troupev1.DestroyRequest{Address: alice.Address(counterv1connect.CounterName, "a")}
	_, err := alice.Actors().Destroy(t.Context(), request)
	wantError(t, err, connect.CodePermissionDenied, notExecuted)
	if _, err := srv.Dial(troupe.WithNamespace("other")).Actors().Destroy(t.Context(), request); err != nil {
		t.Errorf("a client without As: %v", err)
	}
}

func TestAnAuthenticationHookOfTheTests(t *testing.T) {
	t.Parallel()
	srv := actorstest.New(t, counters(new(life)), actorstest.Configure(func(cfg *server.Config) {
		cfg.Authenticate = func(_ context.Context, header http.Header) (server.Principal, error) {
			if header.Get("Authorization") != "Bearer secret" {
				return server.Principal{}, errors.New("no token")
			}
			return server.Principal{Subject: "bob"}, nil
		}
	}))
	_, err := counterv1connect.NewCounterClient(srv.Dial(actorstest.As("bob")).GetOrCreate("a")).Get(t.Context(), &counterv1.GetRequest{})
	wantError(t, err, connect.CodeUnauthenticated, notExecuted)
	wantCount(t, counterv1connect.NewCounterClient(srv.Dial(troupe.WithHeader("Authorization", "Bearer secret")).GetOrCreate("a")), 0)
}
