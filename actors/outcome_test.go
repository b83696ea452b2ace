// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
)

// ordeal is a host whose counter "a" has counted to 1, and what can be done to it.
type ordeal struct {
	*kit

	faulty *storetest.Faulty
	broken bool // its before-connect hook refuses
}

func (o *ordeal) increment1() error { _, err := o.add(o.tb.Context(), "a", 1); return err }

// asleep lets the actor go to sleep.
func (o *ordeal) asleep() *ordeal { pass(10 * time.Second); return o }

// held lets a turn begin that ends when release is called.
func (o *ordeal) held() (release func()) {
	gate := make(chan struct{})
	o.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error { <-gate; return errors.New("held") }
	go func() { _ = o.increment1() }()
	synctest.Wait()
	return func() { close(gate); synctest.Wait() }
}

// act calls Increment with a hook and a change of the call.
func (o *ordeal) act(code func(context.Context, *counter) error, edit func(*actors.Call)) error {
	o.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error { return code(ctx, c) }
	return o.call(edit)
}

func (o *ordeal) call(edit func(*actors.Call)) error {
	call := o.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 1})
	if edit != nil {
		edit(call)
	}
	_, err := o.Call(o.tb.Context(), call)
	return err
}

// trial is one way in which an action fails.
type trial struct {
	name    string
	want    failure
	retry   bool // the error says when to try again
	options []actors.Option
	do      func(*ordeal) error
}

// trials are all the ways.
func trials() []trial {
	says := func(err error) func(context.Context, *counter) error {
		return func(context.Context, *counter) error { return err }
	}
	ended := func(ctx context.Context, _ *counter) error { <-ctx.Done(); return ctx.Err() }
	within := func(o *ordeal, d time.Duration) (context.Context, context.CancelFunc) {
		return context.WithTimeout(o.tb.Context(), d)
	}
	bad := failure{connect.CodeInvalidArgument, "", notExecuted}
	with := func(f failure, reason string) failure { f.reason = reason; return f }
	late := failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted}
	return []trial{
		// What the action does.
		{"an authored error", failure{connect.CodeNotFound, "no_such_thing", notExecuted}, false, nil, func(o *ordeal) error {
			return o.act(says(actors.Errorf(connect.CodeNotFound, "no_such_thing", "no")), nil)
		}},
		{"an error of its own", internal, false, nil, func(o *ordeal) error { return o.act(says(errors.New("secret")), nil) }},
		{"a panic", internal, false, nil, func(o *ordeal) error { return o.fail(o.tb.Context(), "a", 1, true) }},
		{"no method", failure{connect.CodeUnimplemented, "unimplemented", notExecuted}, false, nil, func(o *ordeal) error {
			return o.act(func(ctx context.Context, c *counter) error {
				_, err := c.UnimplementedCounterHandler.Get(ctx, nil)
				return err
			}, nil)
		}},
		{"a write in a read", internal, false, nil, func(o *ordeal) error {
			o.get = func(_ context.Context, c *counter) error { c.Destroy(); return nil }
			_, err := o.count(o.tb.Context(), "a")
			return err
		}},
		{
			"a state over its limit",
			failure{connect.CodeResourceExhausted, "state_too_large", notExecuted},
			false,
			[]actors.Option{actors.MaxStateBytes(3)},
			func(o *ordeal) error { _, err := o.add(o.tb.Context(), "a", 1<<40); return err },
		},

		// What is wrong with the call.
		{"an invalid request", with(bad, "invalid"), false, nil, func(o *ordeal) error { _, err := o.add(o.tb.Context(), "a", -77); return err }},
		{"an input that is none", with(bad, "bad_actor_input"), false, nil, func(o *ordeal) error {
			return o.call(func(c *actors.Call) { c.Address.Key, c.Input = "b", []byte{0xff} })
		}},
		{
			"parameters that are none", with(bad, "bad_actor_params"), false,
			[]actors.Option{actors.BeforeConnect(func(context.Context, actors.Attempt, *counterv1.SubscribeRequest) error { return nil })},
			func(o *ordeal) error { return o.call(func(c *actors.Call) { c.Params = []byte{0xff} }) },
		},
		{"a connection that is gone", failure{connect.CodeFailedPrecondition, "connection_gone", notExecuted}, false, nil, func(o *ordeal) error {
			return o.call(func(c *actors.Call) { c.Conn = "id.secret" })
		}},
		{"no such actor", failure{connect.CodeNotFound, "actor_not_found", notExecuted}, false, nil, func(o *ordeal) error {
			return o.call(func(c *actors.Call) { c.Address.Key, c.Resolve = "b", actors.Get })
		}},
		{"no such incarnation", failure{connect.CodeNotFound, "actor_not_found", notExecuted}, false, nil, func(o *ordeal) error {
			return o.call(func(c *actors.Call) { c.ID = store.NewID(1) })
		}},
		{"an actor that exists", failure{connect.CodeAlreadyExists, "actor_exists", notExecuted}, false, nil, func(o *ordeal) error {
			return o.call(func(c *actors.Call) { c.Resolve = actors.Create })
		}},
		{"an incarnation destroyed while the call waits", failure{connect.CodeNotFound, "actor_not_found", notExecuted}, false, nil, func(o *ordeal) error {
			target := o.to(counterv1connect.CounterGetProcedure, "a", nil).Target
			id := o.stored("a").ID
			release := o.held()
			go func() { _, _ = o.Destroy(o.tb.Context(), target) }()
			synctest.Wait()
			answer := make(chan error, 1)
			go func() { answer <- o.call(func(c *actors.Call) { c.ID = id }) }()
			synctest.Wait()
			release()
			return <-answer
		}},

		// What the hooks say.
		{
			"before-connect",
			failure{connect.CodeFailedPrecondition, "hook_says_no", notExecuted},
			false,
			nil, func(o *ordeal) error { o.broken = true; return o.increment1() },
		},
		{
			"create",
			failure{connect.CodeFailedPrecondition, "hook_says_no", notExecuted},
			false,
			[]actors.Option{actors.OnCreate(func(_ *counter, _ context.Context, in *counterv1.CounterInput) error {
				if in.GetInitial() > 0 {
					return actors.Errorf(connect.CodeFailedPrecondition, "hook_says_no", "no")
				}
				return nil
			})},
			func(o *ordeal) error {
				return o.call(func(c *actors.Call) { c.Address.Key, c.Input = "b", encode(o.tb, &counterv1.CounterInput{Initial: 1}) })
			},
		},

		// How the actor is.
		{
			"a full mailbox",
			failure{connect.CodeResourceExhausted, "mailbox_full", notExecuted},
			true,
			[]actors.Option{actors.MailboxSize(1)},
			func(o *ordeal) error {
				release := o.held()
				defer release()
				go func() { _ = o.increment1() }()
				synctest.Wait()
				return o.increment1()
			},
		},
		{"a wake that fails", internal, false, []actors.Option{actors.OnWake(func(c *counter, _ context.Context) error {
			if c.State().GetCount() > 0 {
				return errors.New("secret")
			}
			return nil
		})}, func(o *ordeal) error { return o.asleep().increment1() }},
		{"back-off", crashed, true, []actors.Option{actors.OnWake(func(c *counter, _ context.Context) error {
			if c.State().GetCount() > 0 {
				return errors.New("secret")
			}
			return nil
		})}, func(o *ordeal) error { o.asleep(); _ = o.increment1(); return o.increment1() }},
		{
			"a hook past its limit",
			failure{connect.CodeUnavailable, "hook_timeout", notExecuted},
			true,
			[]actors.Option{actors.OnWake(func(c *counter, ctx context.Context) error {
				if c.State().GetCount() > 0 {
					<-ctx.Done()
				}
				return nil
			})},
			func(o *ordeal) error { return o.asleep().increment1() },
		},
		{"an undecodable state", quarantined, false, nil, func(o *ordeal) error {
			r := o.asleep().stored("a")
			r.State = []byte{0xff}
			o.put(r)
			return o.increment1()
		}},
		{"a state of newer code", failure{connect.CodeFailedPrecondition, "state_too_new", notExecuted}, false, nil, func(o *ordeal) error {
			r := o.asleep().stored("a")
			r.StateVersion = 9
			o.put(r)
			return o.increment1()
		}},
		{"corrupt bytes", failure{connect.CodeDataLoss, "data_loss", notExecuted}, false, nil, func(o *ordeal) error {
			o.asleep().faulty.FailRead(store.ErrCorrupt)
			return o.increment1()
		}},
		{"a store that cannot read", internal, false, nil, func(o *ordeal) error {
			o.asleep().faulty.FailRead(errors.New("secret"))
			return o.increment1()
		}},
		{"a store that does not answer", failure{connect.CodeUnavailable, "store_unavailable", notExecuted}, true, nil, func(o *ordeal) error {
			o.asleep().faulty.FailRead(fmt.Errorf("load: %w", store.ErrUnavailable))
			return o.increment1()
		}},
		{
			"an actor that destroys itself as it wakes",
			failure{connect.CodeAborted, "actor_destroyed", notExecuted},
			true,
			[]actors.Option{actors.OnWake(func(c *counter, _ context.Context) error {
				if c.Key()[0] == "b" {
					c.Destroy()
				}
				return nil
			})},
			func(o *ordeal) error { _, err := o.add(o.tb.Context(), "b", 1); return err },
		},

		// Time.
		{"a turn past its limit", late, false, nil, func(o *ordeal) error { return o.act(ended, nil) }},
		{"a turn past its caller's deadline", late, false, nil, func(o *ordeal) error {
			ctx, cancel := within(o, time.Second)
			defer cancel()
			o.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error { return ended(ctx, c) }
			_, err := o.add(ctx, "a", 1)
			return err
		}},
		{"a deadline that passes in the queue", late, false, nil, func(o *ordeal) error {
			release := o.held()
			defer release()
			ctx, cancel := within(o, time.Second)
			defer cancel()
			_, err := o.add(ctx, "a", 1)
			return err
		}},
		{"a caller who leaves the queue", failure{connect.CodeCanceled, "canceled", notExecuted}, false, nil, func(o *ordeal) error {
			release := o.held()
			defer release()
			ctx, cancel := context.WithCancel(o.tb.Context())
			time.AfterFunc(time.Second, cancel)
			_, err := o.add(ctx, "a", 1)
			return err
		}},
		{"a caller who leaves a turn that runs", failure{connect.CodeCanceled, "canceled", unknown}, false, nil, func(o *ordeal) error {
			o.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error {
				pass(2 * time.Second)
				return errors.New("fails after all")
			}
			ctx, cancel := context.WithCancel(o.tb.Context())
			time.AfterFunc(time.Second, cancel)
			_, err := o.add(ctx, "a", 1)
			return err
		}},

		{"a deadline that passes during the commit", failure{connect.CodeDeadlineExceeded, "deadline_exceeded", unknown}, false, nil, func(o *ordeal) error {
			hold := o.faulty.HoldWaits()
			defer hold.Release()
			ctx, cancel := within(o, time.Second)
			defer cancel()
			_, err := o.add(ctx, "a", 1)
			return err
		}},

		// The store and the server.
		{"a commit that fails", failure{connect.CodeAborted, "turn_discarded", notExecuted}, true, nil, func(o *ordeal) error {
			o.faulty.FailCommit(errors.New("disk full"))
			return o.increment1()
		}},
		{"a commit that nobody knows of", failure{connect.CodeUnavailable, "outcome_unknown", unknown}, false, nil, func(o *ordeal) error {
			o.faulty.FailCommit(store.ErrUnknown)
			return o.increment1()
		}},
		{"a server that stops", failure{connect.CodeUnavailable, "shutting_down", notExecuted}, true, nil, func(o *ordeal) error {
			o.stop()
			return o.increment1()
		}},
	}
}

// TestP16_EveryFailureSaysWhatBecameOfTheAction has an action fail in every way that
// one host knows. None of them changes what the actor has counted. An idempotency
// key, a chain of calls and the edge have ways of their own, tested beside them.
func TestP16_EveryFailureSaysWhatBecameOfTheAction(t *testing.T) {
	t.Parallel()
	for _, trial := range trials() {
		t.Run(strings.ReplaceAll(trial.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := newOrdeal(t, trial.options...)
				before := o.mustAddOne()
				err := trial.do(o)
				wantFailure(t, err, trial.want)
				if got := retryDelay(t, err) >= 0; got != trial.retry {
					t.Errorf("the error says when to try again: %v, want %v", got, trial.retry)
				}
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the caller sees %v", err)
				}
				pass(5 * time.Second)
				if trial.want.outcome == unknown {
					return
				}
				if r, err := o.store.Load(t.Context(), o.to(counterv1connect.CounterGetProcedure, "a", nil).Address); err == nil {
					state := new(counterv1.CounterState)
					if err := proto.Unmarshal(r.State, state); err == nil && state.GetCount() != before {
						t.Errorf("the actor has counted to %d, and to %d before", state.GetCount(), before)
					}
				}
			})
		})
	}
}

func newOrdeal(tb testing.TB, options ...actors.Option) *ordeal {
	tb.Helper()
	o := &ordeal{faulty: storetest.NewFaulty(memory.New(memory.Options{}))}
	options = append([]actors.Option{
		actors.ActionTimeout(10 * time.Second),
		actors.HookTimeouts{Wake: time.Second},
		actors.SleepAfter(5 * time.Second),
		actors.BeforeConnect(func(context.Context, actors.Attempt, *counterv1.SubscribeRequest) error {
			if o.broken {
				return actors.Errorf(connect.CodeFailedPrecondition, "hook_says_no", "no")
			}
			return nil
		}),
	}, options...)
	o.kit = &kit{tb: tb, store: o.faulty, methods: make(map[string]*actors.Method)}
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return &counter{kit: o.kit} }, options...)
	host, err := actors.NewHost(actors.Config{
		Registry: registry, Store: o.faulty, Logger: slog.New(slog.DiscardHandler),
		Validate: func(message proto.Message) error {
			if request, ok := message.(*counterv1.IncrementRequest); ok && request.GetAmount() == -77 {
				return invalid()
			}
			return nil
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	o.Host = host
	for _, m := range host.Methods() {
		o.methods[m.Spec.Procedure] = m
	}
	tb.Cleanup(o.stop)
	return o
}

func (o *ordeal) mustAddOne() int64 { return o.mustAdd("a", 1) }

// invalid is what the edge's validation says of a message.
func invalid() error {
	err := connect.Errorf(connect.CodeInvalidArgument, "amount must not be -77")
	for _, message := range []proto.Message{&errdetails.ErrorInfo{Reason: "invalid"}, &troupev1.Outcome{Outcome: notExecuted}} {
		if detail, marshalErr := connectproto.NewErrorDetail(message); marshalErr == nil {
			err = err.WithDetail(detail)
		}
	}
	return err
}
