// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package tools_test

import (
	"context"
	"strings"
	"testing"
	"time"

	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/test/program"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TestGrpcGo holds what a client of grpc-go gets besides a reply: metadata, errors with
// details, and streams that it leaves.
func TestGrpcGo(t *testing.T) {
	t.Parallel()
	s := program.Start(t, program.Build(t, module+"/examples/counter"), t.TempDir())
	conn, err := grpc.NewClient(strings.TrimPrefix(s.URL, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx := metadata.AppendToOutgoingContext(t.Context(), "actor-key", "demo")

	var header metadata.MD
	reply := new(counterv1.IncrementResponse)
	if err := conn.Invoke(ctx, "/counter.v1.Counter/Increment", &counterv1.IncrementRequest{Amount: 5}, reply, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	if reply.GetCount() != 5 || len(header["actor-id"]) != 1 || len(header["actor-cursor"]) != 1 || len(header["actor-created"]) != 1 {
		t.Errorf("got %v with %v", reply, header)
	}

	err = conn.Invoke(ctx, "/counter.v1.Counter/Fail", &counterv1.FailRequest{}, new(counterv1.FailResponse))
	failed := status.Convert(err)
	var reason string
	var outcome troupev1.Outcome_Outcome
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.GetReason()
		case *troupev1.Outcome:
			outcome = detail.GetOutcome()
		}
	}
	if failed.Code() != codes.FailedPrecondition || reason != "always_fails" || outcome != troupev1.Outcome_OUTCOME_NOT_EXECUTED {
		t.Errorf("got %v, %s, %v", failed, reason, outcome)
	}

	leave, cancel := context.WithCancel(ctx)
	stream, err := conn.NewStream(leave, &grpc.StreamDesc{ServerStreams: true}, "/troupe.v1.ActorService/Watch")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(&troupev1.WatchRequest{Subscriptions: []*troupev1.Subscription{{Number: 1, Type: "counter.v1.Counter", Key: []string{"demo"}}}}); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the stream, and what it carries
		if err := stream.RecvMsg(new(troupev1.WatchFrame)); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := stream.RecvMsg(new(troupev1.WatchFrame)); status.Code(err) != codes.Canceled {
		t.Errorf("a stream that its caller has left ends with %v", err)
	}

	hurried, cancel := context.WithTimeout(ctx, time.Nanosecond)
	defer cancel()
	if err := conn.Invoke(hurried, "/counter.v1.Counter/Get", &counterv1.GetRequest{}, new(counterv1.GetResponse)); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a call without time ends with %v", err)
	}
}
