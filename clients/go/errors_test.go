// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
)

// TestErrorDetails sends an error with every detail through a real server.
func TestErrorDetails(t *testing.T) {
	t.Parallel()
	invalid := protovalidate.Validate(&counterv1.IncrementRequest{})
	violated, ok := errors.AsType[*protovalidate.ValidationError](invalid)
	if !ok {
		t.Fatalf("validation gave %v", invalid)
	}
	s := &fakeServer{increment: func(context.Context, *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
		return nil, failure(connect.CodeInvalidArgument, "no",
			&errdetails.ErrorInfo{Reason: "too_low", Domain: "counter.v1.Counter", Metadata: map[string]string{"least": "1"}},
			retryIn(3*time.Second),
			&troupev1.Outcome{Outcome: notExecuted, CorrelationId: "c7"},
			violated.ToProto(),
		)
	}}
	s.start(t)
	client := troupe.Dial(s.url)
	defer client.Close()
	_, err := counterv1connect.NewCounterClient(client.GetOrCreate("k")).Increment(t.Context(), &counterv1.IncrementRequest{})

	if got := troupe.Reason(err); got != "too_low" {
		t.Errorf("reason %q", got)
	}
	if diff := cmp.Diff(map[string]string{"least": "1"}, troupe.Metadata(err)); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if got := troupe.OutcomeOf(err); got != notExecuted {
		t.Errorf("outcome %v", got)
	}
	if got := troupe.CorrelationID(err); got != "c7" {
		t.Errorf("correlation id %q", got)
	}
	if got, ok := troupe.RetryDelay(err); !ok || got != 3*time.Second {
		t.Errorf("retry delay %v, %v", got, ok)
	}
	violations := troupe.Violations(err)
	if len(violations) != 1 || violations[0].Field != "amount" || violations[0].Rule != "int64.not_in" || violations[0].Message == "" {
		t.Errorf("violations %+v", violations)
	}
}

func TestErrorsWithoutDetails(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, errors.New("plain"), connect.NewError(connect.CodeInternal, "x"), context.Canceled} {
		if troupe.Reason(err) != "" || troupe.Metadata(err) != nil || troupe.CorrelationID(err) != "" || troupe.Violations(err) != nil {
			t.Errorf("%v has details", err)
		}
		if _, ok := troupe.RetryDelay(err); ok {
			t.Errorf("%v has a retry delay", err)
		}
		want := unknown
		if err == nil {
			want = committed
		}
		if got := troupe.OutcomeOf(err); got != want {
			t.Errorf("%v: outcome %v, want %v", err, got, want)
		}
	}
}

// TestOutcomeOfAnotherAge checks that an outcome this client does not know counts
// as unknown.
func TestOutcomeOfAnotherAge(t *testing.T) {
	t.Parallel()
	if got := troupe.OutcomeOf(failure(connect.CodeInternal, "", outcome(99))); got != unknown {
		t.Errorf("outcome %v, want unknown", got)
	}
}

func TestViolationPaths(t *testing.T) {
	t.Parallel()
	element := func(name string) *validate.FieldPathElement {
		return &validate.FieldPathElement{FieldName: proto.String(name)}
	}
	indexed := element("members")
	indexed.Subscript = &validate.FieldPathElement_Index{Index: 2}
	keyed := element("labels")
	keyed.Subscript = &validate.FieldPathElement_StringKey{StringKey: "a b"}
	err := failure(connect.CodeInvalidArgument, "", &validate.Violations{Violations: []*validate.Violation{
		{Field: &validate.FieldPath{Elements: []*validate.FieldPathElement{indexed, element("name")}}, RuleId: proto.String("string.min_len"), Message: proto.String("too short")},
		{Field: &validate.FieldPath{Elements: []*validate.FieldPathElement{keyed}}, RuleId: proto.String("r")},
		{RuleId: proto.String("whole"), Message: proto.String("does not add up")},
	}})
	want := []troupe.Violation{
		{Field: "members[2].name", Rule: "string.min_len", Message: "too short"},
		{Field: `labels["a b"]`, Rule: "r"},
		{Rule: "whole", Message: "does not add up"},
	}
	got := troupe.Violations(err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
	if s := got[0].String(); s != "members[2].name: too short" {
		t.Errorf("String() = %q", s)
	}
	if s := got[2].String(); s != "does not add up" {
		t.Errorf("String() = %q", s)
	}
}
