// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Node is a server of counters and registers for the tests of a cluster.
package main

import (
	"context"
	"time"

	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"github.com/troupe-dev/troupe/gen/go/register/v1/registerv1connect"
	"github.com/troupe-dev/troupe/server"
)

// Slow is the amount from which an increment takes SlowTurn.
const (
	slow     = 1_000_000
	slowTurn = 2 * time.Second
)

type counter struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]
}

// Increment adds to the count. A negative amount is so many milliseconds, after which a
// schedule adds one.
func (c *counter) Increment(_ context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	if req.GetAmount() < 0 {
		after := time.Duration(-req.GetAmount()) * time.Millisecond
		_, err := c.Schedule().After(after, counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 1})
		return &counterv1.IncrementResponse{Count: c.State().GetCount()}, err
	}
	if req.GetAmount() >= slow {
		<-time.After(slowTurn) // deaf to its context
	}
	c.State().Count += req.GetAmount()
	c.Broadcast(&counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{
		CountChanged: &counterv1.CountChanged{Count: c.State().GetCount()},
	}})
	return &counterv1.IncrementResponse{Count: c.State().GetCount()}, nil
}

// Get reads the count.
func (c *counter) Get(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) { //nolint:unparam // the generated interface
	return &counterv1.GetResponse{Count: c.State().GetCount()}, nil
}

func main() {
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) })
	actors.Register(registry, registerv1connect.RegisterRegisterHandler, func() *register { return new(register) })
	server.Main(registry)
}
