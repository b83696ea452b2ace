// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// TestBadInput sends everything that can be wrong in every protocol, expects a
// typed error that says so, and a server that is still up.
func TestBadInput(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	one := &counterv1.IncrementRequest{Amount: 1}
	long := strings.Repeat("k", 129)
	cases := []struct {
		name    string
		path    string // empty is Increment
		header  http.Header
		message proto.Message // nil is a good one
		body    func(grpc, json bool) []byte
		code    connect.Code
		reason  string
	}{
		{name: "unknown service", path: "/nobody.v1.Nobody/Call", code: connect.CodeUnimplemented, reason: "unknown_service"},
		{name: "unknown method", path: "/counter.v1.Counter/Jump", code: connect.CodeUnimplemented, reason: "unknown_method"},
		{name: "unknown service in the URL", path: "/actors/default/a/@/nobody.v1.Nobody/Call", code: connect.CodeUnimplemented, reason: "unknown_service"},
		{name: "unknown method in the URL", path: "/actors/default/a/@/counter.v1.Counter/Jump", code: connect.CodeUnimplemented, reason: "unknown_method"},
		{name: "unknown namespace", header: http.Header{"Actor-Namespace": {"other"}}, code: connect.CodeNotFound, reason: "unknown_namespace"},
		{name: "bad namespace", header: http.Header{"Actor-Namespace": {"No!"}}, code: connect.CodeInvalidArgument, reason: "bad_namespace"},
		{name: "unknown namespace in the URL", path: "/actors/other/a/@/counter.v1.Counter/Increment", code: connect.CodeNotFound, reason: "unknown_namespace"},
		{name: "key and id", header: http.Header{"Actor-Key": {"a"}, "Actor-Id": {strings.Repeat("0", 26)}}, code: connect.CodeInvalidArgument, reason: "address_conflict"},
		{name: "key and URL", path: "/actors/default/a/@/counter.v1.Counter/Increment", header: http.Header{"Actor-Key": {"a"}}, code: connect.CodeInvalidArgument, reason: "address_conflict"},
		{name: "two keys", header: http.Header{"Actor-Key": {"a", "b"}}, code: connect.CodeInvalidArgument, reason: "bad_actor_key"},
		{name: "bad id", header: http.Header{"Actor-Id": {"xyz"}}, code: connect.CodeInvalidArgument, reason: "bad_actor_id"},
		{name: "unknown id", header: http.Header{"Actor-Id": {strings.Repeat("0", 26)}}, code: connect.CodeNotFound, reason: ""},
		{name: "malformed percent-encoding", header: http.Header{"Actor-Key": {"a%2"}}, code: connect.CodeInvalidArgument, reason: "bad_actor_key"},
		{name: "unencoded byte", header: http.Header{"Actor-Key": {"a b"}}, code: connect.CodeInvalidArgument, reason: "bad_actor_key"},
		{name: "empty segment", header: http.Header{"Actor-Key": {"a//b"}}, code: connect.CodeInvalidArgument, reason: "bad_actor_key"},
		{name: "long segment", header: http.Header{"Actor-Key": {long}}, code: connect.CodeInvalidArgument, reason: "bad_actor_key"},
		{name: "many segments", header: http.Header{"Actor-Key": {strings.Repeat("a/", 32) + "a"}}, code: connect.CodeInvalidArgument, reason: "bad_actor_key"},
		{name: "long key", header: http.Header{"Actor-Key": {strings.TrimSuffix(strings.Repeat(long[:120]+"/", 9), "/")}}, code: connect.CodeInvalidArgument, reason: "bad_actor_key"},
		{name: "key not UTF-8", header: http.Header{"Actor-Key": {"%ff"}}, code: connect.CodeInvalidArgument, reason: "bad_actor_key"},
		{name: "bad resolve", header: http.Header{"Actor-Resolve": {"maybe"}}, code: connect.CodeInvalidArgument, reason: "bad_actor_resolve"},
		{name: "input not base64", header: http.Header{"Actor-Input-Bin": {"***"}}, code: connect.CodeInvalidArgument, reason: "bad_actor_input"},
		{name: "long input", header: http.Header{"Actor-Input-Bin": {base64.StdEncoding.EncodeToString(make([]byte, 4097))}}, code: connect.CodeInvalidArgument, reason: "bad_actor_input"},
		{name: "long cursor", header: http.Header{"Actor-Resume": {strings.Repeat("c", 257)}}, code: connect.CodeInvalidArgument, reason: "bad_actor_resume"},
		{name: "long list of events", header: http.Header{"Actor-Events": {strings.Repeat("e", 4097)}}, code: connect.CodeInvalidArgument, reason: "bad_actor_events"},
		{name: "long idempotency key", header: http.Header{"Idempotency-Key": {strings.Repeat("i", 256)}}, code: connect.CodeInvalidArgument, reason: "bad_idempotency_key"},
		{name: "unset required field", message: &counterv1.IncrementRequest{}, code: connect.CodeInvalidArgument, reason: "invalid_message"},
		{
			name: "oversized body", code: connect.CodeResourceExhausted, reason: "request_too_large",
			body: func(bool, bool) []byte { return bytes.Repeat([]byte(" "), 1<<20+1) },
		},
		{
			name: "truncated body", code: connect.CodeInvalidArgument, reason: "*",
			body: func(_, json bool) []byte {
				if json {
					return []byte(`{"amount": 1`)
				}
				return []byte{0x08}
			},
		},
		{
			name: "not what it says", code: connect.CodeInvalidArgument, reason: "bad_request_body",
			body: func(_, json bool) []byte {
				if json {
					return []byte("{]")
				}
				return []byte{0x07, 0xff}
			},
		},
		{
			name: "deep nesting", code: connect.CodeInvalidArgument, reason: "bad_request_body",
			body: func(_, json bool) []byte {
				if json {
					return []byte(`{"amount":1,"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}")
				}
				return bytes.Repeat([]byte{0x0b}, 5000) // groups within groups
			},
		},
	}
	for _, c := range cases {
		for _, p := range protocols {
			t.Run(c.name+"/"+p.name, func(t *testing.T) {
				t.Parallel()
				message := c.message
				if message == nil {
					message = one
				}
				body, err := proto.Marshal(message)
				if p.json {
					body, err = protojson.Marshal(message)
				}
				if err != nil {
					t.Fatal(err)
				}
				if c.body != nil {
					body = c.body(p.grpc, p.json)
				}
				if p.grpc {
					body = envelope(body)
				}
				path := c.path
				if path == "" {
					path = counterv1connect.CounterIncrementProcedure
				}
				got := b.post(t, path, p.contentType, c.header, body)
				if got.code != c.code.String() || got.reason != c.reason && c.reason != "*" && c.reason != "" {
					t.Errorf("got %s (%s): %s; want %s (%s)", got.code, got.reason, got.message, c.code, c.reason)
				}
				if got.outcome != troupev1.Outcome_OUTCOME_NOT_EXECUTED {
					t.Errorf("outcome %s; want NOT_EXECUTED", got.outcome)
				}
				if got.message == "" {
					t.Error("the error has no message")
				}
			})
		}
	}
	t.Cleanup(func() {
		ctx, _ := at(context.Background(), "actor-key", "still-up")
		if _, err := b.counters().Increment(ctx, one); err != nil {
			t.Errorf("the server is not up any more: %v", err)
		}
	})
}

func TestTruncatedEnvelope(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	got := b.post(t, counterv1connect.CounterIncrementProcedure, "application/grpc", nil, []byte{0, 0, 0, 0, 9, 1})
	if got.code != "invalid_argument" || got.reason != "truncated_request_body" {
		t.Errorf("got %+v", got)
	}
}

func TestNonUTF8String(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	list := "/troupe.v1.ActorService/List" // the first field of its request is a string
	for name, request := range map[string]struct {
		contentType string
		body        []byte
	}{
		"proto": {"application/proto", []byte("\x0a\x02\xff\xfe")},
		"json":  {"application/json", []byte("{\"namespace\": \"\xff\xfe\"}")},
		"grpc":  {"application/grpc", envelope([]byte("\x0a\x02\xff\xfe"))},
	} {
		if got := b.post(t, list, request.contentType, nil, request.body); got.code != "invalid_argument" || got.reason != "bad_request_body" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestContentType(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, contentType := range []string{"text/plain", "application/xml", "application/connect+json", "", "application/json; charset=latin1", ";;"} {
		got := b.post(t, counterv1connect.CounterIncrementProcedure, contentType, nil, []byte(`{"amount":1}`))
		if got.status != http.StatusUnsupportedMediaType || got.reason != "unsupported_content_type" || !strings.Contains(got.message, "application/json") {
			t.Errorf("%q: got %+v", contentType, got)
		}
	}
	for _, contentType := range []string{"application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8"} {
		if got := b.post(t, counterv1connect.CounterIncrementProcedure, contentType, nil, []byte(`{"amount":1}`)); got.status != http.StatusOK {
			t.Errorf("%q: got %+v", contentType, got)
		}
	}
	if got := b.post(t, counterv1connect.CounterSubscribeProcedure, "application/json", nil, []byte(`{}`)); got.status != http.StatusUnsupportedMediaType ||
		!strings.Contains(got.message, "application/connect+json") {
		t.Errorf("a stream by application/json: got %+v", got)
	}
}

// A GET that does not say what it sends is told how to: browsers and curl send such.
func TestEncodingOfGET(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.increment(t, "a")
	get := "/actors/default/a/@" + counterv1connect.CounterGetProcedure
	for query, status := range map[string]int{
		"": 415, "?message={}": 415, "?encoding=xml&message={}": 415, "?encoding=": 415,
		"?encoding=json&message={}": 200, "?encoding=%6Ason&message={}": 200, "?encoding=proto&message=": 200, "?encoding=json": 400,
	} {
		response, body := do(t, b.h1, b.url+get+query, "", nil)
		if response.StatusCode != status {
			t.Errorf("%q: %d %s; want %d", query, response.StatusCode, body, status)
		}
		if status == http.StatusUnsupportedMediaType && (!strings.Contains(body, "unsupported_content_type") || !strings.Contains(body, "encoding=json")) {
			t.Errorf("%q: the answer does not help: %s", query, body)
		}
	}
}

func TestNotRPC(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for path, status := range map[string]int{"/": 404, "/nobody.v1.Nobody/Call": 404, "/healthz": 200, "/readyz": 200, counterv1connect.CounterIncrementProcedure: 405} {
		response, _ := do(t, b.h1, b.url+path, "", nil)
		if response.StatusCode != status {
			t.Errorf("GET %s: %d; want %d", path, response.StatusCode, status)
		}
		if response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: sniffing is not forbidden", path)
		}
	}
}
