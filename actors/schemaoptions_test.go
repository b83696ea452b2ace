// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// declared is the generated registration of the counter, as it would be if its
// schema had other options.
func declared(tb testing.TB, edit func(*troupev1.ActorOptions, *troupev1.ActionOptions)) func(*connect.Server, counterv1connect.CounterHandler) {
	tb.Helper()
	file := protodesc.ToFileDescriptorProto(counterv1.File_counter_v1_counter_proto)
	service := file.GetService()[0]
	actor, _ := proto.Clone(proto.GetExtension(service.GetOptions(), troupev1.E_Actor).(*troupev1.ActorOptions)).(*troupev1.ActorOptions)
	action := new(troupev1.ActionOptions)
	edit(actor, action)
	proto.SetExtension(service.GetOptions(), troupev1.E_Actor, actor)
	increment := slices.IndexFunc(service.GetMethod(), func(m *descriptorpb.MethodDescriptorProto) bool { return m.GetName() == "Increment" })
	service.GetMethod()[increment].Options = new(descriptorpb.MethodOptions)
	proto.SetExtension(service.GetMethod()[increment].GetOptions(), troupev1.E_Action, action)
	built, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		tb.Fatal(err)
	}
	methods := built.Services().Get(0).Methods()
	return func(s *connect.Server, h counterv1connect.CounterHandler) {
		var handlers []connect.ServerFunc
		inner := connect.NewServer(func(next connect.ServerFunc) connect.ServerFunc {
			handlers = append(handlers, next)
			return next
		})
		counterv1connect.RegisterCounterHandler(inner, h)
		for n, spec := range slices.Collect(inner.Specs()) {
			_, name, _ := strings.Cut(spec.Procedure[1:], "/")
			spec.Schema = methods.ByName(protoreflect.Name(name))
			s.Register(connect.Method{Spec: spec, Handler: handlers[n]})
		}
	}
}

// newDeclaredKit is [newKit] with other options in the schema.
func newDeclaredKit(tb testing.TB, edit func(*troupev1.ActorOptions, *troupev1.ActionOptions), options ...actors.Option) (*kit, error) {
	tb.Helper()
	k := &kit{tb: tb, store: memory.New(memory.Options{}), methods: make(map[string]*actors.Method)}
	registry := actors.NewRegistry()
	actors.Register(registry, declared(tb, edit), func() *counter { return &counter{kit: k} }, options...)
	host, err := actors.NewHost(actors.Config{Registry: registry, Store: k.store})
	if err != nil {
		return nil, err
	}
	k.Host = host
	for _, m := range host.Methods() {
		k.methods[m.Spec.Procedure] = m
	}
	tb.Cleanup(k.stop)
	return k, nil
}

func TestOptionsInTheSchema(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, err := newDeclaredKit(t, func(actor *troupev1.ActorOptions, action *troupev1.ActionOptions) {
			actor.SleepAfter = durationpb.New(3 * time.Minute)
			actor.ActionTimeout = durationpb.New(7 * time.Second)
			actor.MailboxSize = 1
			actor.MaxStateBytes = 3
			action.Timeout = durationpb.New(2 * time.Second)
		}, actors.MaxStateBytes(2)) // the program has the last word
		if err != nil {
			t.Fatal(err)
		}
		k.mustAdd("a", 1)
		pass(2 * time.Minute)
		if d := k.describe("a"); !d.Awake {
			t.Error("sleep_after was not used")
		}
		pass(2 * time.Minute)
		if d := k.describe("a"); d.Awake {
			t.Error("sleep_after was not used")
		}
		_, err = k.add(t.Context(), "a", 1000)
		wantFailure(t, err, failure{connect.CodeResourceExhausted, "state_too_large", notExecuted})

		late := failure{connect.CodeDeadlineExceeded, "deadline_exceeded", notExecuted}
		k.increment = func(ctx context.Context, _ *counter, _ *counterv1.IncrementRequest) error { <-ctx.Done(); return nil }
		k.get = func(ctx context.Context, _ *counter) error { <-ctx.Done(); return nil }
		began := time.Now()
		_, err = k.add(t.Context(), "a", 1)
		wantFailure(t, err, late)
		if took := time.Since(began); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("the RPC's own time limit was %v", took)
		}
		began = time.Now()
		_, err = k.count(t.Context(), "a")
		wantFailure(t, err, late)
		if took := time.Since(began); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("the type's time limit was %v", took)
		}

		for range 2 {
			go func() { _, _ = k.add(t.Context(), "a", 1) }()
			synctest.Wait()
		}
		_, err = k.add(t.Context(), "a", 1)
		wantFailure(t, err, failure{connect.CodeResourceExhausted, "mailbox_full", notExecuted})
		pass(10 * time.Second)
	})
}

func TestNoSleep(t *testing.T) {
	t.Parallel()
	inSchema := func(actor *troupev1.ActorOptions, _ *troupev1.ActionOptions) { actor.NoSleep = true }
	nothing := func(*troupev1.ActorOptions, *troupev1.ActionOptions) {}
	for name, test := range map[string]struct {
		schema  func(*troupev1.ActorOptions, *troupev1.ActionOptions)
		options []actors.Option
		awake   bool
	}{
		"neither":               {nothing, nil, false},
		"schema":                {inSchema, nil, true},
		"program":               {nothing, []actors.Option{actors.NoSleep()}, true},
		"program before schema": {inSchema, []actors.Option{actors.SleepAfter(time.Minute)}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			k, err := newDeclaredKit(t, test.schema, test.options...)
			if err != nil {
				t.Fatal(err)
			}
			k.mustAdd("a", 1)
			pass(time.Hour)
			if got := k.describe("a").Awake; got != test.awake {
				t.Errorf("%s: awake is %v", name, got)
			}
		})
	}
}

func TestBadOptionsSayWhatToChange(t *testing.T) {
	t.Parallel()
	wrongStep := actors.Migrate(func(context.Context, *counterv1.CounterState) (*counterv1.CounterInput, error) { return nil, nil }) //nolint:nilnil // never runs
	for want, test := range map[string]struct {
		schema  func(*troupev1.ActorOptions, *troupev1.ActionOptions)
		options []actors.Option
	}{
		"option (troupe.v1.actor) has both sleep_after and no_sleep: keep one": {schema: func(actor *troupev1.ActorOptions, _ *troupev1.ActionOptions) {
			actor.SleepAfter, actor.NoSleep = durationpb.New(time.Minute), true
		}},
		"option (troupe.v1.actor).sleep_after: SleepAfter(-1s) must be positive": {schema: func(actor *troupev1.ActorOptions, _ *troupev1.ActionOptions) {
			actor.SleepAfter = durationpb.New(-time.Second)
		}},
		"option (troupe.v1.actor).max_state_bytes: MaxStateBytes(33554432) must be positive and at most 16 MiB": {schema: func(actor *troupev1.ActorOptions, _ *troupev1.ActionOptions) {
			actor.MaxStateBytes = 32 << 20
		}},
		"option (troupe.v1.action).timeout is 1h0m0s and must be positive and at most 5m0s": {schema: func(_ *troupev1.ActorOptions, action *troupev1.ActionOptions) {
			action.Timeout = durationpb.New(time.Hour)
		}},
		"Migrate step 1 makes *counterv1.CounterInput, but the state of the type is *counterv1.CounterState: make them the same": {options: []actors.Option{wrongStep}},
		"Migrate step 1 makes *counterv1.CounterInput, but what the next step reads is *counterv1.CounterState":                  {options: append([]actors.Option{wrongStep}, steps()[1])},
		"StateVersion(1) is less than the number of Migrate steps, 2":                                                            {options: append(steps(), actors.StateVersion(1))},
		"HookTimeouts.Wake is -1s and must not be negative":                                                                      {options: []actors.Option{actors.HookTimeouts{Wake: -time.Second}}},
		"Migrate needs a state": {schema: func(actor *troupev1.ActorOptions, _ *troupev1.ActionOptions) { actor.State = "" }, options: steps()},
	} {
		schema := test.schema
		if schema == nil {
			schema = func(*troupev1.ActorOptions, *troupev1.ActionOptions) {}
		}
		if _, err := newDeclaredKit(t, schema, test.options...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
}
