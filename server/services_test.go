// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"google.golang.org/protobuf/types/known/emptypb"
)

const ownProcedure = "/own.v1.Own/Do"

// own registers a service of the program's own, whose method does what do says.
func own(do func(context.Context) error) func(*connect.Server) {
	return func(rpc *connect.Server) {
		rpc.Register(connect.Method{
			Spec: connect.Spec{Procedure: ownProcedure, StreamType: connect.StreamTypeUnary},
			Handler: func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
				if err := stream.Receive(new(emptypb.Empty)); err != nil {
					return err
				}
				if err := do(ctx); err != nil {
					return err
				}
				return stream.Send(new(emptypb.Empty))
			},
		})
	}
}

// TestServices holds that services that are not actors pass the server's front and
// answer as Connect does by itself.
func TestServices(t *testing.T) {
	t.Parallel()
	var fail error
	b := setup(t, func(cfg *Config) {
		authenticated(cfg)
		cfg.Services = own(func(context.Context) error { return fail })
	})
	ada := http.Header{"Authorization": {"ada"}}
	if got := b.post(t, ownProcedure, "application/json", ada, []byte("{}")); got.status != http.StatusOK {
		t.Errorf("a call: %+v", got)
	}
	if got := b.post(t, ownProcedure, "application/json", nil, []byte("{}")); got.code != "unauthenticated" {
		t.Errorf("a call of somebody unknown: %+v", got)
	}
	encoded := strings.TrimSuffix(ownProcedure, "o") + "%6F"
	if got := b.post(t, encoded, "application/json", nil, []byte("{}")); got.code != "unauthenticated" {
		t.Errorf("a call of somebody unknown, the path encoded in another way: %+v", got)
	}
	if got := b.post(t, "/own.v1.Own/Else", "application/json", nil, []byte("{}")); got.code != "unauthenticated" {
		t.Errorf("a call of somebody unknown, of a method that is not there: %+v", got)
	}
	fail = connect.NewError(connect.CodeInvalidArgument, "bad")
	if got := b.post(t, ownProcedure, "application/json", ada, []byte("{}")); got.code != "invalid_argument" || got.message != "bad" || len(got.details) != 0 {
		t.Errorf("an error that was made for callers: %+v", got)
	}
	fail = errors.New("a secret")
	if got := b.post(t, ownProcedure, "application/json", ada, []byte("{}")); got.code != "internal" || strings.Contains(got.message, "secret") {
		t.Errorf("another error: %+v", got)
	}
	if got := b.post(t, "/own.v1.Own/Else", "application/json", ada, []byte("{}")); got.code != "unimplemented" || got.reason != "" {
		t.Errorf("a method that is not there: %+v", got)
	}
}

func TestServicesAreNotTakenTwice(t *testing.T) {
	t.Parallel()
	cfg := Config{Registry: newRegistry(), Store: memory.New(memory.Options{}), Services: func(rpc *connect.Server) {
		own(nil)(rpc)
		own(nil)(rpc)
	}}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "Services") {
		t.Errorf("got %v", err)
	}
}
