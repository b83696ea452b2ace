// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Ledger is a server for the tests that kill it: each of its actions uses every part
// of a turn that is stored.
package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"github.com/troupe-dev/troupe/server"
)

// accounts is how many there are, in a ring. Their keys are their numbers.
const accounts = 4

// Account implements counter.v1.Counter. Its state is a balance.
type Account struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]
}

// Increment does one of three things with an amount. A client has the account pay it
// to the next one: take it from the balance, send it, and make a schedule. A message
// adds it to the balance. A schedule only notes that it has run.
//
// Each leaves a pair named for what it is and its amount, whose value has one byte for
// each time that it took effect, and tells the subscribers.
func (a *Account) Increment(ctx context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	what := "paid "
	if _, ok := actors.ScheduleOf(ctx); ok {
		what = "ran "
	} else if strings.HasPrefix(actors.SubjectOf(ctx), "actor:") {
		what = "got "
		a.State().Count += req.GetAmount()
	} else if err := a.pay(req); err != nil {
		return nil, err
	}
	if err := a.note(ctx, what, req.GetAmount()); err != nil {
		return nil, err
	}
	a.Broadcast(&counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{
		CountChanged: &counterv1.CountChanged{Count: a.State().GetCount()},
	}})
	return &counterv1.IncrementResponse{Count: a.State().GetCount()}, nil
}

func (a *Account) pay(req *counterv1.IncrementRequest) error {
	a.State().Count -= req.GetAmount()
	number, err := strconv.Atoi(a.Key()[0])
	if err != nil {
		return err
	}
	to := actors.Peer{Key: []string{strconv.Itoa((number + 1) % accounts)}}
	if err := a.Outbox().Send(to, counterv1connect.CounterIncrementProcedure, req); err != nil {
		return err
	}
	delay := time.Duration(req.GetAmount()%50) * time.Millisecond
	_, err = a.Schedule().After(delay, counterv1connect.CounterIncrementProcedure, req)
	return err
}

func (a *Account) note(ctx context.Context, what string, amount int64) error {
	key := []byte(what + strconv.FormatInt(amount, 10))
	times, _, err := a.KV().Get(ctx, key)
	if err != nil {
		return err
	}
	return a.KV().Put(key, append(times, '1'))
}

func main() {
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *Account { return new(Account) })
	server.Main(registry)
}
