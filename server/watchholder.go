// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"strings"

	"github.com/troupe-dev/troupe/actors/placement"
)

// holderAndID returns the node and the id that a stream's token names; the node's may
// have dots.
func holderAndID(token string) (node, id string) {
	rest := token[:max(strings.LastIndexByte(token, '.'), 0)] // without the secret
	at := max(strings.LastIndexByte(rest, '.'), 0)
	return rest[:at], strings.TrimPrefix(rest[at:], ".")
}

// holderOf returns the node that holds the shared stream of a token; false if that is
// this one, or none: then the call fails where it is. A node that has lost its lease has
// another id, so a stream that is older than that is found by this node alone.
func (c *peers) holderOf(ctx context.Context, token string) (placement.Node, bool, error) {
	name, id := holderAndID(token)
	if name == "" || name == c.placement.Self().ID || c.watches.named(id) != nil {
		return placement.Node{}, false, nil
	}
	if known := c.nodes.Load(); known != nil {
		if node, ok := (*known)[name]; ok {
			return node, true, nil
		}
	}
	all, err := c.placement.Nodes(ctx)
	if err != nil {
		return placement.Node{}, false, retryAfter(nodeUnreachable.errorf("the node that holds the shared stream cannot be found out"), moveDelay).WithCause(err)
	}
	known := make(map[string]placement.Node, len(all))
	for _, one := range all {
		known[one.ID] = one.Node
	}
	c.nodes.Store(&known)
	node, ok := known[name]
	return node, ok, nil
}
