// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"sync"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// subject is the actor under test. A call of Increment does what the script with the
// number in its request says.
type subject struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]

	scripts *scripts
}

func (s *subject) Increment(ctx context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	if err := s.scripts.take(req.GetAmount())(ctx, s); err != nil {
		return nil, err
	}
	return &counterv1.IncrementResponse{Count: s.State().GetCount()}, nil
}

func (s *subject) Get(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	return &counterv1.GetResponse{Count: s.State().GetCount()}, nil
}

// script is what one turn does.
type script func(ctx context.Context, s *subject) error

// scripts are the turns that calls are about to make.
type scripts struct {
	mu     sync.Mutex
	next   int64            // guarded by mu
	byCall map[int64]script // guarded by mu
}

// put returns the number to call for a script.
func (s *scripts) put(run script) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	s.byCall[s.next] = run
	return s.next
}

func (s *scripts) take(n int64) script {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run := s.byCall[n]; run != nil {
		return run
	}
	return func(context.Context, *subject) error {
		return actors.Errorf(connect.CodeInvalidArgument, "no_script", "there is no script %d", n)
	}
}
