// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Counter is the smallest actor: a number that survives.
package main

import (
	"context"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"github.com/troupe-dev/troupe/server"
)

// Counter implements counter.v1.Counter. Each key has a counter of its own.
type Counter struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]
}

// Increment adds to the count and tells every subscriber.
func (c *Counter) Increment(_ context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	c.State().Count += req.GetAmount()
	c.changed()
	return &counterv1.IncrementResponse{Count: c.State().GetCount()}, nil
}

// Get reads the count. It is declared NO_SIDE_EFFECTS, so that reads run beside
// each other.
func (c *Counter) Get(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	return &counterv1.GetResponse{Count: c.State().GetCount()}, nil
}

// Fail adds to the count and fails, in one of two ways: an action is a
// transaction, so the count stays what it was and nobody hears of the event.
func (c *Counter) Fail(_ context.Context, req *counterv1.FailRequest) (*counterv1.FailResponse, error) {
	c.State().Count += req.GetAmount()
	c.changed()
	if req.GetPanic() {
		panic("asked to panic") //nolint:forbidigo // what this action is for
	}
	return nil, actors.Errorf(connect.CodeFailedPrecondition, "always_fails", "this action always fails")
}

func (c *Counter) changed() {
	c.Broadcast(&counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{
		CountChanged: &counterv1.CountChanged{Count: c.State().GetCount()},
	}})
}

func (c *Counter) onCreate(_ context.Context, input *counterv1.CounterInput) error {
	c.State().Count = input.GetInitial()
	return nil
}

func main() {
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *Counter { return new(Counter) },
		actors.OnCreate((*Counter).onCreate))
	server.Main(registry)
}
