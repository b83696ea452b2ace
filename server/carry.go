// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/placement"
)

// carry runs a subscription of a shared stream whose actor another node runs: the
// shared stream stays where it came in.
func (c *peers) carry(ctx context.Context, sub *carried, call *actors.Call) error {
	search := placement.Search{Placement: c.placement, Shard: c.host.ShardOf(&call.Target)}
	for {
		var verdict error = notOwner()
		if c.host.Admits(&call.Target) {
			verdict = sub.follow(ctx, call)
		} else if node, ok := search.Elsewhere(); ok {
			verdict = c.Follow(ctx, node, call, func(*actors.Reply) error { return nil }, func(message []byte) error {
				return sub.Send(actors.NewFrame(call.Method, message), false)
			})
			if _, answered := errors.AsType[*connect.Error](verdict); answered {
				verdict = rebuilt(verdict)
			}
		}
		if verdict == nil || !misrouted(verdict) || !search.Again(ctx) {
			return verdict
		}
	}
}
