// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"testing"

	"connectrpc.com/connect/v2"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"google.golang.org/protobuf/types/known/emptypb"
)

func TestURL(t *testing.T) {
	t.Parallel()
	plain, tenant := Dial("http://localhost:1/"), Dial("https://troupe.example.com/base", WithNamespace("acme"))
	defer plain.Close()
	defer tenant.Close()
	for _, c := range []struct {
		client  *Client
		address Address
		path    string
		want    string
	}{
		{plain, Address{}, "/", "http://localhost:1/actors/default/@/a.v1.A/http/"},
		{plain, Address{Key: []string{"org", "a/b", ".."}}, "/x?y=1", "http://localhost:1/actors/default/org/a%2Fb/~../@/a.v1.A/http/x?y=1"},
		{tenant, Address{Key: []string{"k"}}, "/", "https://troupe.example.com/base/actors/acme/k/@/a.v1.A/http/"},
		{tenant, Address{Namespace: "red", Resolve: Get}, "/", "https://troupe.example.com/base/actors/red/@/a.v1.A/http/?resolve=get"},
		{plain, Address{Params: &chatv1.SubscribeRequest{User: "ada"}}, "/x?y=1", "http://localhost:1/actors/default/@/a.v1.A/http/x?y=1&params=CgNhZGE"},
	} {
		if got, err := c.client.URL("a.v1.A", c.address, c.path); err != nil || got != c.want {
			t.Errorf("got %s, %v, want %s", got, err, c.want)
		}
	}
	wrong := Dial("ftp://x")
	for name, f := range map[string]func() (string, error){
		"id":        func() (string, error) { return plain.URL("a.v1.A", Address{ID: "x"}, "/") },
		"input":     func() (string, error) { return plain.URL("a.v1.A", Address{Input: new(emptypb.Empty)}, "/") },
		"path":      func() (string, error) { return plain.URL("a.v1.A", Address{}, "x") },
		"key":       func() (string, error) { return plain.URL("a.v1.A", Address{Key: []string{"\x00"}}, "/") },
		"namespace": func() (string, error) { return plain.URL("a.v1.A", Address{Namespace: "NO"}, "/") },
		"resolve":   func() (string, error) { return plain.URL("a.v1.A", Address{Resolve: "maybe"}, "/") },
	} {
		if got, err := f(); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
	if _, err := wrong.URL("a.v1.A", Address{}, "/"); err == nil {
		t.Error("a wrong base: no error")
	}
}
