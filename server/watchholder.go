// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"strings"
	"time"

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
	known, err := c.look.again(ctx, c)
	if err != nil {
		return placement.Node{}, false, retryAfter(nodeUnreachable.errorf("the node that holds the shared stream cannot be found out"), moveDelay).WithCause(err)
	}
	node, ok := known[name]
	return node, ok, nil
}

// lookPause is how long one look at the nodes must suffice. Tokens come from outside,
// and whoever asks for the nodes uses what the lease is renewed with.
const lookPause = time.Second

// look is the looks at the nodes that calls about streams of unknown nodes need: one
// at a time, for all who wait, and one in a second.
type look struct {
	turn  chan struct{} // holds a token of the one that looks
	begun time.Time     // belongs to the token: when the last look began
	seen  time.Time     // belongs to the token: as of when the nodes are known
}

func newLook() look { return look{turn: make(chan struct{}, 1)} }

// again returns the nodes as they are at the time of the call or later.
func (l *look) again(ctx context.Context, c *peers) (map[string]placement.Node, error) {
	asked := time.Now()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !l.seen.Before(asked) {
		return *c.nodes.Load(), nil // somebody has looked while this call waited
	}
	pause := time.NewTimer(time.Until(l.begun.Add(lookPause)))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.begun = time.Now()
	all, err := c.placement.Nodes(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what it was for
	}
	known := make(map[string]placement.Node, len(all))
	for _, one := range all {
		known[one.ID] = one.Node
	}
	c.nodes.Store(&known)
	l.seen = l.begun
	return known, nil
}
