// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"io"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// careless is a counter that counts its readers in a read-only action.
type careless struct{ counter }

func (c *careless) Get(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	c.State().Count++
	return &counterv1.GetResponse{Count: c.State().GetCount()}, nil
}

// TestDevelopment holds that a server finds such a mistake where it is told to look
// for it.
func TestDevelopment(t *testing.T) {
	t.Parallel()
	for flag, found := range map[string]bool{"-dev": true, "-dev=false": false} {
		settings, err := parse([]string{flag}, noEnv, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		b := setup(t, func(cfg *Config) {
			cfg.Development = settings.Development
			cfg.Registry = actors.NewRegistry()
			actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *careless { return new(careless) })
		})
		ctx, _ := at(t.Context(), "actor-key", "a")
		if _, err := b.counters().Get(ctx, &counterv1.GetRequest{}); (err != nil) != found || found && connect.CodeOf(err) != connect.CodeInternal {
			t.Errorf("%s: got %v", flag, err)
		}
	}
}
