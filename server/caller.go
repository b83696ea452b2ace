// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/base64"
	"net/http"

	nodev1 "github.com/troupe-dev/troupe/gen/go/troupe/node/v1"
	"google.golang.org/protobuf/proto"
)

// headerCaller says who sent a request that a node passes on: it was authenticated
// where it came in. It is read on the listener of the nodes only, and never passed on
// from a client.
const headerCaller = "Troupe-Caller"

// callerOf encodes who has sent a request.
func callerOf(r *http.Request) string { return encodeCaller(r.Context(), r.RemoteAddr) }

func encodeCaller(ctx context.Context, peer string) string {
	caller := &nodev1.Caller{Peer: peer, Loopback: fromLoopback(ctx)}
	if p := principalOf(ctx); p != nil {
		caller.Principal = &nodev1.Principal{Subject: p.Subject, Namespaces: p.Namespaces, Server: p.Role == RoleServer}
	}
	encoded, err := proto.Marshal(caller)
	if err != nil {
		return "" // text that is not UTF-8: the other node refuses it
	}
	return base64.RawStdEncoding.EncodeToString(encoded)
}

// withCaller puts who has sent a request that a node has passed on into the request.
func withCaller(r *http.Request) (*http.Request, error) {
	values := r.Header[headerCaller]
	if len(values) != 1 || values[0] == "" {
		return nil, badForwarded.errorf("a node says who has sent what it passes on")
	}
	encoded, err := base64.RawStdEncoding.DecodeString(values[0])
	caller := new(nodev1.Caller)
	if err == nil {
		err = proto.Unmarshal(encoded, caller)
	}
	if err != nil {
		return nil, badForwarded.errorf("a node has passed on a caller that cannot be read")
	}
	delete(r.Header, headerCaller)
	ctx := context.WithValue(r.Context(), forwardedKey{}, true)
	ctx = context.WithValue(ctx, loopbackKey{}, caller.GetLoopback())
	if p := caller.GetPrincipal(); p != nil {
		principal := &Principal{Subject: p.GetSubject(), Namespaces: p.GetNamespaces()}
		if p.GetServer() {
			principal.Role = RoleServer
		}
		ctx = context.WithValue(ctx, principalKey{}, principal)
	}
	r = r.WithContext(ctx)
	r.RemoteAddr = caller.GetPeer()
	return r, nil
}

type forwardedKey struct{}

// forwarded reports whether another node has passed a request on.
func forwarded(ctx context.Context) bool {
	was, _ := ctx.Value(forwardedKey{}).(bool)
	return was
}
