// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	registerv1 "github.com/troupe-dev/troupe/gen/go/register/v1"
	"github.com/troupe-dev/troupe/gen/go/register/v1/registerv1connect"
)

// register implements register.v1.Register. Each value that it takes on is a change of
// its state, a pair from the version to the value, an event, and a message to the counter
// of the same key, all of one turn.
type register struct {
	registerv1connect.UnimplementedRegisterHandler
	actors.Actor[*registerv1.RegisterState, *registerv1.RegisterEvent]
}

// Read reads the value.
func (r *register) Read(context.Context, *registerv1.ReadRequest) (*registerv1.ReadResponse, error) { //nolint:unparam // the generated interface
	return &registerv1.ReadResponse{Value: r.State().GetValue(), Version: r.State().GetVersion()}, nil
}

// Write writes a value, for a caller or for a schedule.
func (r *register) Write(_ context.Context, req *registerv1.WriteRequest) (*registerv1.WriteResponse, error) {
	if req.GetMilliseconds() > 0 {
		<-time.After(time.Duration(req.GetMilliseconds()) * time.Millisecond) // deaf to its context
	}
	previous := r.State().GetValue()
	err := r.set(req.GetValue())
	return &registerv1.WriteResponse{Previous: previous, Version: r.State().GetVersion()}, err
}

// Swap writes a value if the present one is the expected one.
func (r *register) Swap(_ context.Context, req *registerv1.SwapRequest) (*registerv1.SwapResponse, error) {
	reply := &registerv1.SwapResponse{Previous: r.State().GetValue()}
	var err error
	if reply.GetPrevious() == req.GetExpected() {
		reply.Swapped = true
		err = r.set(req.GetValue())
	}
	reply.Version = r.State().GetVersion()
	return reply, err
}

// Later makes a schedule that writes a value.
func (r *register) Later(_ context.Context, req *registerv1.LaterRequest) (*registerv1.LaterResponse, error) {
	after := time.Duration(req.GetMilliseconds()) * time.Millisecond
	_, err := r.Schedule().After(after, registerv1connect.RegisterWriteProcedure, &registerv1.WriteRequest{Value: req.GetValue()})
	return new(registerv1.LaterResponse), err
}

func (r *register) set(value int64) error {
	state := r.State()
	state.Value, state.Version = value, state.GetVersion()+1
	r.Broadcast(&registerv1.RegisterEvent{Event: &registerv1.RegisterEvent_Written{
		Written: &registerv1.Written{Value: value, Version: state.GetVersion()},
	}})
	add := &counterv1.IncrementRequest{Amount: 1}
	if err := r.Outbox().Send(actors.Peer{Key: r.Key()}, counterv1connect.CounterIncrementProcedure, add); err != nil {
		return err
	}
	key := binary.BigEndian.AppendUint64(nil, uint64(state.GetVersion()))
	return r.KV().Put(key, binary.BigEndian.AppendUint64(nil, uint64(value)))
}
