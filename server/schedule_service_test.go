// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"log/slog"
	"strconv"
	"testing"
	"testing/synctest"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// failing is a counter whose increments make a schedule that always fails.
type failing struct{ counter }

func (f *failing) Increment(context.Context, *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	_, err := f.Schedule().After(0, counterv1connect.CounterFailProcedure, new(counterv1.FailRequest), actors.MaxAttempts(1))
	return new(counterv1.IncrementResponse), err
}

// TestDeadSchedules fills the dead list, reads it in pages, and empties it.
func TestDeadSchedules(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := actors.NewRegistry()
		actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *failing { return new(failing) })
		host, err := actors.NewHost(actors.Config{Registry: registry, Store: memory.New(memory.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = host.Shutdown(t.Context()) }()
		validator, err := newValidator()
		if err != nil {
			t.Fatal(err)
		}
		trusted := true
		service := &actorService{
			directory:  host,
			namespaces: newNamespaces([]string{"default"}),
			inputs:     map[string]protoreflect.FullName{counterType: ""},
			check:      validator.check,
			trusted:    func(context.Context) bool { return trusted },
			log:        slog.New(slog.DiscardHandler),
		}
		ctx := t.Context()
		for n := range 5 {
			var method *actors.Method
			for _, m := range host.Methods() {
				if m.Spec.Procedure == counterv1connect.CounterIncrementProcedure {
					method = m
				}
			}
			call := &actors.Call{Method: method, Request: new(counterv1.IncrementRequest), Codec: newCodecs(false).binary}
			call.Address.Namespace, call.Address.Type, call.Address.Key = "default", counterType, strconv.Itoa(n)
			if _, err := host.Call(ctx, call); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		var dead []*troupev1.DeadSchedule
		for token := ""; ; {
			page, err := service.ListDeadSchedules(ctx, &troupev1.ListDeadSchedulesRequest{PageSize: 2, PageToken: token})
			if err != nil {
				t.Fatal(err)
			}
			dead = append(dead, page.GetSchedules()...)
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
		if len(dead) != 5 || dead[0].GetType() != counterType || dead[0].GetAttempts() != 1 || dead[0].GetProcedure() != counterv1connect.CounterFailProcedure {
			t.Fatalf("the dead list is %v", dead)
		}
		first := &troupev1.Address{Id: dead[0].GetActorId()}
		if one, err := service.ListDeadSchedules(ctx, &troupev1.ListDeadSchedulesRequest{Address: first}); err != nil || len(one.GetSchedules()) != 1 {
			t.Errorf("of one actor: %v, %v", one, err)
		}
		if _, err := service.RetrySchedule(ctx, &troupev1.RetryScheduleRequest{Address: first, Schedule: dead[0].GetSchedule()}); err != nil {
			t.Error(err)
		}
		synctest.Wait() // it fails again
		for _, d := range dead {
			if _, err := service.DropSchedule(ctx, &troupev1.DropScheduleRequest{Address: address(d.GetKey()...), Schedule: d.GetSchedule()}); err != nil {
				t.Error(err)
			}
		}
		if page, err := service.ListDeadSchedules(ctx, new(troupev1.ListDeadSchedulesRequest)); err != nil || len(page.GetSchedules()) != 0 {
			t.Errorf("in the end: %v, %v", page, err)
		}

		_, err = service.ListDeadSchedules(ctx, &troupev1.ListDeadSchedulesRequest{PageToken: "x"})
		assertError(t, err, connect.CodeInvalidArgument, "bad_page_token", "troupe.v1")
		_, err = service.ListDeadSchedules(ctx, &troupev1.ListDeadSchedulesRequest{Namespace: "other"})
		assertError(t, err, connect.CodeNotFound, "unknown_namespace", "troupe.v1")
		_, err = service.ListDeadSchedules(ctx, &troupev1.ListDeadSchedulesRequest{Address: first, Namespace: "default"})
		assertError(t, err, connect.CodeInvalidArgument, "address_conflict", "troupe.v1")
		_, err = service.DropSchedule(ctx, &troupev1.DropScheduleRequest{Address: first, Schedule: "none"})
		assertError(t, err, connect.CodeNotFound, "schedule_not_found", "troupe.v1")
		trusted = false
		_, err = service.ListDeadSchedules(ctx, new(troupev1.ListDeadSchedulesRequest))
		assertError(t, err, connect.CodePermissionDenied, "server_role_required", "troupe.v1")
		_, err = service.RetrySchedule(ctx, &troupev1.RetryScheduleRequest{Address: first, Schedule: "x"})
		assertError(t, err, connect.CodePermissionDenied, "server_role_required", "troupe.v1")
		_, err = service.DropSchedule(ctx, &troupev1.DropScheduleRequest{Address: first, Schedule: "x"})
		assertError(t, err, connect.CodePermissionDenied, "server_role_required", "troupe.v1")
	})
}
