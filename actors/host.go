// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/proto"
)

// Config configures a [Host].
type Config struct {
	// Registry holds the actor types. Required.
	Registry *Registry
	// Store keeps the actors. Required; the host does not close it.
	Store store.Store
	// Validate, unless nil, checks requests, inputs and connection parameters.
	Validate func(proto.Message) error
	// Logger; nil means [slog.Default].
	Logger *slog.Logger
}

// Registry holds actor types.
type Registry struct{}

// Method is one RPC of a registered actor type.
type Method struct {
	// Spec is the RPC as connect describes it.
	Spec connect.Spec
	// Type is the actor type's name.
	Type string
	// Subscription says that the RPC is the type's subscription.
	Subscription bool
	// ReadOnly says that the RPC is declared NO_SIDE_EFFECTS.
	ReadOnly bool
	// Internal says that the edge must refuse the RPC.
	Internal bool
}

// NewRequest returns a fresh request message.
func (m *Method) NewRequest() proto.Message { return nil }

// Host runs actors.
type Host struct{}

// NewHost checks cfg and the registered types and returns a host that runs.
func NewHost(cfg Config) (*Host, error) { return nil, errors.New("not yet") }

// Methods returns every RPC of every registered type.
func (h *Host) Methods() []*Method { return nil }

// Call runs one action.
func (h *Host) Call(ctx context.Context, call *Call) (Reply, error) { return Reply{}, errors.New("not yet") }

// Subscribe opens a connection and feeds sink until the stream ends. A nil error
// means that the server ended it on purpose, after a closing frame.
func (h *Host) Subscribe(ctx context.Context, call *Call, sink Sink) error { return errors.New("not yet") }

// Description describes an actor.
type Description struct {
	store.Record
	// Awake says whether the actor is in memory.
	Awake bool
	// Connections is the number of its open connections.
	Connections int
}

// Ensure resolves target, creating the actor if target.Resolve says so, and
// describes it. Created says whether it did.
func (h *Host) Ensure(ctx context.Context, target Target, input []byte) (d Description, created bool, err error) {
	return Description{}, false, errors.New("not yet")
}

// Destroy destroys an actor for good.
func (h *Host) Destroy(ctx context.Context, target Target) (store.ID, error) { return store.ID{}, errors.New("not yet") }

// List describes actors in order of namespace, type and key.
func (h *Host) List(ctx context.Context, q store.ListQuery) ([]Description, error) { return nil, errors.New("not yet") }

// Shutdown ends every subscription with a closing frame, refuses new calls, waits
// for the turns that run and for their commits, and puts every actor to sleep.
func (h *Host) Shutdown(ctx context.Context) error { return nil }

var _ = time.Second
