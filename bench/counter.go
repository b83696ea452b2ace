// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// counter is the actor of the counter example: each increment is durable, and
// published.
type counter struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]
}

// Increment adds to the count.
func (c *counter) Increment(_ context.Context, request *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) { //nolint:unparam // the service says so
	c.State().Count += request.Amount
	c.Broadcast(changed(c.State().Count))
	return &counterv1.IncrementResponse{Count: c.State().Count}, nil
}

// Get reads the count.
func (c *counter) Get(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) { //nolint:unparam // the service says so
	return &counterv1.GetResponse{Count: c.State().Count}, nil
}

func changed(count int64) *counterv1.CounterEvent {
	return &counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{CountChanged: &counterv1.CountChanged{Count: count}}}
}
