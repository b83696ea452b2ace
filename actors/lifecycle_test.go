// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
)

// diary records the hooks of a counter.
type diary struct {
	mu      sync.Mutex
	entries []string // guarded by mu
}

func (d *diary) note(entry string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, entry)
}

func (d *diary) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	entries := d.entries
	d.entries = nil
	return entries
}

func (d *diary) hook(name string) func(*counter, context.Context) error {
	return func(*counter, context.Context) error {
		d.note(name)
		return nil
	}
}

func (d *diary) options() []actors.Option {
	return []actors.Option{
		actors.OnCreate(func(c *counter, _ context.Context, input *counterv1.CounterInput) error {
			d.note("create")
			if input.GetInitial() < 0 {
				return actors.Errorf(connect.CodeInvalidArgument, "negative", "a counter starts at 0 or above")
			}
			c.State().Count = input.GetInitial()
			return nil
		}),
		actors.OnWake(d.hook("wake")),
		actors.OnSleep(d.hook("sleep")),
		actors.OnDestroy(d.hook("destroy")),
	}
}

func TestHooksRunInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		k := newKit(t, nil, append(d.options(), actors.SleepAfter(5*time.Second))...)
		k.mustAdd("a", 1)
		k.mustAdd("a", 1)
		pass(10 * time.Second)
		synctest.Wait()
		if got, want := d.take(), []string{"create", "wake", "sleep"}; !slices.Equal(got, want) {
			t.Fatalf("the hooks were %v, want %v", got, want)
		}
		k.mustCount("a", 2)
		if _, err := k.Destroy(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Target); err != nil {
			t.Fatal(err)
		}
		if got, want := d.take(), []string{"wake", "destroy"}; !slices.Equal(got, want) {
			t.Fatalf("the hooks were %v, want %v", got, want)
		}
	})
}

func TestInputIsForCreationOnly(t *testing.T) {
	t.Parallel()
	var d diary
	k := newKit(t, nil, d.options()...)
	call := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 1})
	call.Input, _ = proto.Marshal(&counterv1.CounterInput{Initial: 40})
	reply, err := k.Call(t.Context(), call)
	if got := decode(t, reply, err, new(counterv1.IncrementResponse)); err != nil || got.GetCount() != 41 || !reply.Created {
		t.Fatalf("got %v, created %v, %v", got, reply.Created, err)
	}
	call.Request = &counterv1.IncrementRequest{Amount: 1}
	reply, err = k.Call(t.Context(), call)
	if got := decode(t, reply, err, new(counterv1.IncrementResponse)); err != nil || got.GetCount() != 42 || reply.Created {
		t.Fatalf("got %v, created %v, %v", got, reply.Created, err)
	}
}

func TestAFailingCreateHookLeavesNothing(t *testing.T) {
	t.Parallel()
	var d diary
	k := newKit(t, nil, d.options()...)
	call := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 1})
	call.Input, _ = proto.Marshal(&counterv1.CounterInput{Initial: -1})
	_, err := k.Call(t.Context(), call)
	wantFailure(t, err, failure{connect.CodeInvalidArgument, "negative", notExecuted})
	if _, err := k.store.Load(t.Context(), call.Address); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Load says %v", err)
	}
}

func TestACreationStaysWhenItsActionFails(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	wantFailure(t, k.fail(t.Context(), "a", 1, false), failure{connect.CodeFailedPrecondition, "always_fails", notExecuted})
	record, err := k.store.Load(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Address)
	if err != nil || record.Revision != 1 {
		t.Errorf("Load says revision %d, %v", record.Revision, err)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	call := func(key string, resolve actors.Resolve) (actors.Reply, error) {
		c := k.to(counterv1connect.CounterGetProcedure, key, new(counterv1.GetRequest))
		c.Resolve = resolve
		return k.Call(t.Context(), c)
	}
	_, err := call("a", actors.Get)
	wantFailure(t, err, failure{connect.CodeNotFound, "actor_not_found", notExecuted})
	reply, err := call("a", actors.Create)
	if err != nil || !reply.Created {
		t.Fatalf("created %v, %v", reply.Created, err)
	}
	_, err = call("a", actors.Create)
	wantFailure(t, err, failure{connect.CodeAlreadyExists, "actor_exists", notExecuted})
	if got, err := call("a", actors.Get); err != nil || got.ID != reply.ID {
		t.Errorf("get says %v, %v; want %v", got.ID, err, reply.ID)
	}

	byID := k.to(counterv1connect.CounterGetProcedure, "", new(counterv1.GetRequest))
	byID.ID = reply.ID
	if got, err := k.Call(t.Context(), byID); err != nil || got.ID != reply.ID {
		t.Errorf("by id says %v, %v; want %v", got.ID, err, reply.ID)
	}
	byID.ID, byID.Request = store.NewID(1), new(counterv1.GetRequest)
	_, err = k.Call(t.Context(), byID)
	wantFailure(t, err, failure{connect.CodeNotFound, "actor_not_found", notExecuted})
	byID.ID, byID.Request, byID.Address.Namespace = reply.ID, new(counterv1.GetRequest), "other"
	_, err = k.Call(t.Context(), byID)
	wantFailure(t, err, failure{connect.CodeNotFound, "actor_not_found", notExecuted})
}

func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.mustAdd("a", 5)
	other := k.to(counterv1connect.CounterGetProcedure, "a", new(counterv1.GetRequest))
	other.Address.Namespace = "other"
	reply, err := k.Call(t.Context(), other)
	if got := decode(t, reply, err, new(counterv1.GetResponse)); err != nil || got.GetCount() != 0 {
		t.Errorf("the other tenant sees %v, %v", got, err)
	}
}

func TestDestroyFreesTheKey(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.mustAdd("a", 5)
	sub := k.subscribe("a", nil)
	first := await(t, "opened frame", sub.opened).GetActorId()
	target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
	id, err := k.Destroy(t.Context(), target)
	if err != nil || id.String() != first {
		t.Fatalf("Destroy says %v, %v; want %v", id, err, first)
	}
	if why := await(t, "closing frame", sub.closed).GetReason(); why != troupev1.CloseReason_CLOSE_REASON_DESTROYED {
		t.Errorf("the stream closed with %v", why)
	}
	if err := await(t, "end", sub.ended); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	_, err = k.Destroy(t.Context(), target)
	wantFailure(t, err, failure{connect.CodeNotFound, "actor_not_found", notExecuted})
	byID := k.to(counterv1connect.CounterGetProcedure, "", new(counterv1.GetRequest))
	byID.ID = id
	_, err = k.Call(t.Context(), byID)
	wantFailure(t, err, failure{connect.CodeNotFound, "actor_not_found", notExecuted})
	k.mustCount("a", 0)
}

// TestALongCallKeepsItsActorAwake holds that an actor sleeps when it has been without a
// call for its time, however long the last one took.
func TestALongCallKeepsItsActorAwake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil, actors.SleepAfter(30*time.Second))
		k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error {
			pass(40 * time.Second)
			return nil
		}
		k.mustAdd("a", 1)
		pass(28 * time.Second)
		if !k.describe("a").Awake {
			t.Error("it sleeps before it has been idle for 30 s")
		}
		pass(4 * time.Second)
		if k.describe("a").Awake {
			t.Error("it does not sleep")
		}
	})
}

func TestP39_SleepAndWakeLoseNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		k := newKit(t, nil, append(d.options(), actors.SleepAfter(time.Second))...)
		var callers sync.WaitGroup
		for n := range 8 {
			callers.Go(func() {
				for range 20 {
					if _, err := k.add(t.Context(), "a", 1); err != nil {
						t.Error(err)
					}
					pass(time.Duration(500+137*n) * time.Millisecond)
				}
			})
		}
		callers.Wait()
		k.mustCount("a", 160)
	})
}

func TestP38_AnActorSleepsWhileClientsStaySubscribed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		k := newKit(t, nil, append(d.options(), actors.SleepAfter(time.Second))...)
		sub := k.subscribe("a", nil)
		await(t, "opened frame", sub.opened)
		pass(time.Minute)
		synctest.Wait()
		if got := d.take(); !slices.Contains(got, "sleep") {
			t.Fatalf("the actor does not sleep: %v", got)
		}
		target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
		target.Resolve = actors.Get
		description, _, err := k.Ensure(t.Context(), target, nil)
		if err != nil || description.Awake || description.Connections != 1 {
			t.Errorf("described as %+v, %v", description, err)
		}
		for range 3 { // a minute of heartbeats
			if event := await(t, "heartbeat", sub.frames); event.GetInfo().GetHeartbeat() == nil {
				t.Errorf("got %v", event)
			}
		}
		k.mustAdd("a", 1)
		for {
			event := await(t, "event", sub.frames)
			if changed := event.GetCountChanged(); changed != nil {
				if changed.GetCount() != 1 {
					t.Errorf("got %v", event)
				}
				break
			}
		}
		sub.cancel()
		<-sub.ended
	})
}

func TestEnsureAndList(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	target := k.to(counterv1connect.CounterGetProcedure, "org/a", nil).Target
	d, created, err := k.Ensure(t.Context(), target, nil)
	if err != nil || !created || d.Revision != 1 {
		t.Fatalf("Ensure says %+v, %v, %v", d, created, err)
	}
	again, created, err := k.Ensure(t.Context(), target, nil)
	if err != nil || created || again.ID != d.ID {
		t.Fatalf("Ensure says %+v, %v, %v", again, created, err)
	}
	target.Resolve = actors.Create
	_, _, err = k.Ensure(t.Context(), target, nil)
	wantFailure(t, err, failure{connect.CodeAlreadyExists, "actor_exists", notExecuted})
	target.Address.Type = "no.Such"
	_, _, err = k.Ensure(t.Context(), target, nil)
	wantFailure(t, err, failure{connect.CodeNotFound, "unknown_actor_type", notExecuted})

	k.mustAdd("org/b", 1)
	all, err := k.List(t.Context(), store.ListQuery{Namespace: "default", Type: counterv1connect.CounterName, KeyPrefix: "org/", Limit: 10})
	if err != nil || len(all) != 2 || all[0].Key != "org/a" || all[1].Key != "org/b" {
		t.Errorf("List says %+v, %v", all, err)
	}
}

func TestShutdownRefusesNewCallsAndClosesStreams(t *testing.T) {
	t.Parallel()
	var d diary
	k := newKit(t, memory.New(memory.Options{}), d.options()...)
	k.mustAdd("a", 1)
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)
	k.stop()
	if last := await(t, "closing frame", sub.closed); last.GetReason() != troupev1.CloseReason_CLOSE_REASON_SHUTDOWN || last.GetReconnectAfter() == nil {
		t.Errorf("the stream closed with %v", last)
	}
	_, err := k.add(t.Context(), "a", 1)
	wantFailure(t, err, failure{connect.CodeUnavailable, "shutting_down", notExecuted})
	if got := d.take(); !slices.Contains(got, "sleep") {
		t.Errorf("the actor did not go to sleep: %v", got)
	}
}

func TestRegistrationSaysWhatToChange(t *testing.T) {
	t.Parallel()
	type notAnActor struct {
		actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]
	}
	type wrongState struct {
		counterv1connect.UnimplementedCounterHandler
		actors.Actor[*counterv1.CounterInput, *counterv1.CounterEvent]
	}
	for name, test := range map[string]struct {
		register func(*actors.Registry)
		want     string
	}{
		"empty": {func(*actors.Registry) {}, "the registry is empty"},
		"missing methods": {func(r *actors.Registry) {
			actors.Register(r, counterv1connect.RegisterCounterHandler, func() *notAnActor { return new(notAnActor) })
		}, "it has no method Increment"},
		"wrong state": {func(r *actors.Registry) {
			actors.Register(r, counterv1connect.RegisterCounterHandler, func() *wrongState { return new(wrongState) })
		}, "whose State is counter.v1.CounterInput, but the state in the service is counter.v1.CounterState"},
		"wrong input": {func(r *actors.Registry) {
			actors.Register(r, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) },
				actors.OnCreate(func(*counter, context.Context, *counterv1.CounterState) error { return nil }))
		}, "is counter.v1.CounterInput: use *counterv1.CounterInput"},
		"wrong actor": {func(r *actors.Registry) {
			actors.Register(r, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) },
				actors.OnWake(func(*wrongState, context.Context) error { return nil }))
		}, "use its method"},
		"twice": {func(r *actors.Registry) {
			for range 2 {
				actors.Register(r, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) })
			}
		}, "registered twice"},
		"bad limit": {func(r *actors.Registry) {
			actors.Register(r, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) }, actors.SleepAfter(-1))
		}, "SleepAfter(-1ns) must be positive"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := actors.NewRegistry()
			test.register(registry)
			_, err := actors.NewHost(actors.Config{Registry: registry, Store: memory.New(memory.Options{})})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want …%s…", err, test.want)
			}
		})
	}
}

// TestP10_AListShowsNothingThatIsNotDurable lists actors while one is being created,
// whose commit fails in the end.
func TestP10_AListShowsNothingThatIsNotDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		k := newKit(t, faulty)
		k.mustAdd("a", 1)
		list := func(ctx context.Context) []string {
			found, err := k.List(ctx, store.ListQuery{Namespace: "default", Limit: 10})
			if ctx.Err() != nil {
				wantFailure(t, err, failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted})
			}
			var keys []string
			for _, d := range found {
				keys = append(keys, d.Key)
			}
			return keys
		}
		hold := faulty.HoldWaits()
		added := make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "b", 1); added <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		list(ctx) // not for ever
		listed := make(chan []string, 1)
		go func() { listed <- list(t.Context()) }()
		synctest.Wait()
		select {
		case keys := <-listed:
			t.Errorf("listed %v before it is durable", keys)
			listed <- keys
		default:
		}
		hold.Release()
		if err := <-added; err != nil {
			t.Error(err)
		}
		if keys := <-listed; !slices.Equal(keys, []string{"a", "b"}) {
			t.Errorf("listed %v", keys)
		}
	})
}
