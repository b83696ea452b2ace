// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
)

const (
	// watchFirst is how long a node may take to answer before it is asked whether the
	// node still holds the shard: one that is frozen, or cut off, never answers.
	watchFirst = time.Second
	// watchNext is how often that is asked from then on.
	watchNext = 2 * time.Second
)

// errMovedAway ends a request to a node that does not hold the actor's shard any more.
var errMovedAway = errors.New("the node does not hold the actor any more")

// nodeWatch ends a request to a node once another one holds the shard.
type nodeWatch struct {
	peers    *peers
	node     placement.Node
	shard    uint16
	ctx      context.Context //nolint:containedctx // that of the request to the node
	cancel   context.CancelCauseFunc
	answered atomic.Bool // the node has begun to answer
	timer    *time.Timer
}

// watched returns the context of a request to a node, which ends when the node does not
// hold the shard any more. Stop must follow.
func (c *peers) watched(ctx context.Context, node placement.Node, shard uint16) (context.Context, *nodeWatch) {
	w := &nodeWatch{peers: c, node: node, shard: shard}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(watchFirst, w.look)
	return w.ctx, w
}

func (w *nodeWatch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// movedAway reports whether the request ended because its node holds the shard no more.
func (w *nodeWatch) movedAway() bool { return context.Cause(w.ctx) == errMovedAway } //nolint:errorlint // our own, never wrapped

// look asks who holds the shard; of a node that has begun to answer it goes by what is
// known, since a stream ends by itself when its actor moves.
func (w *nodeWatch) look() {
	if w.ctx.Err() != nil {
		return
	}
	if !w.answered.Load() {
		ctx, cancel := context.WithTimeout(w.ctx, watchNext)
		_, _, _ = w.peers.placement.Refresh(ctx, w.shard) // who cannot be asked now is asked again
		cancel()
	}
	if route, ok := w.peers.placement.Route(w.shard); ok && route.Node.ID != w.node.ID {
		w.cancel(errMovedAway)
		return
	}
	w.timer.Reset(watchNext)
}
