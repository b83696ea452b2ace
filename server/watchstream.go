// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// numberWindow is how far below the highest number of a stream a new one may be:
// calls overtake each other. What is older need not be remembered.
const numberWindow = 1024

// watch is one shared stream. The goroutine of its RPC runs it; each subscription
// that it carries has a goroutine of its own.
type watch struct {
	set        *watches
	ctx        context.Context //nolint:containedctx // the stream's: what it carries lives as long
	cancel     context.CancelCauseFunc
	outer      *connect.CallInfo // of the RPC
	node       string            // which the stream is of
	id, secret string
	subject    string // who may change what it carries
	out        *watchWriter
	running    sync.WaitGroup // what it carries

	mu      sync.Mutex
	carried map[uint32]context.CancelFunc // guarded by mu
	seen    map[uint32]bool               // guarded by mu; numbers it has had, of the newest ones
	highest uint32                        // guarded by mu
	closed  bool                          // guarded by mu; carries nothing new
}

// reserve takes the number of a subscription that is about to be carried, and returns
// the context that ends it; nil if the stream has had the number before.
func (w *watch) reserve(number uint32) (own context.Context, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, streamGone.errorf("the shared stream of this call ends; open another one")
	case w.seen[number]:
		return nil, nil //nolint:nilnil // there is nothing to do
	case number < w.highest && w.highest-number >= numberWindow:
		return nil, badSubscription.errorf("the subscription number %d is too far below %d: numbers rise", number, w.highest)
	case len(w.carried) >= maxCarried:
		return nil, tooManyCarried.errorf("the stream carries %d subscriptions", maxCarried)
	}
	own, w.carried[number] = context.WithCancel(w.ctx)
	w.seen[number] = true
	w.highest = max(w.highest, number)
	if len(w.seen) >= 3*numberWindow {
		for old := range w.seen {
			if old < w.highest && w.highest-old >= numberWindow {
				delete(w.seen, old)
			}
		}
	}
	return own, nil
}

// remove ends a subscription, if the stream carries it. One whose call was overtaken
// is not carried at all.
func (w *watch) remove(number uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	distance := max(number, w.highest) - min(number, w.highest)
	if cancel := w.carried[number]; cancel != nil {
		cancel()
	} else if distance < numberWindow { // another one would not be carried
		w.seen[number] = true
	}
}

// token is what names the stream in calls: see [holderAndID].
func (w *watch) token() string { return w.node + "." + w.id + "." + w.secret }

// sendOpened sends the stream's first frame.
func (w *watch) sendOpened() error {
	return w.out.send(&troupev1.WatchFrame{Frame: &troupev1.WatchFrame_Opened{Opened: &troupev1.WatchOpened{
		StreamId:          w.node + "." + w.id,
		Stream:            w.token(),
		HeartbeatInterval: durationpb.New(w.set.heartbeat),
		MaxSubscriptions:  maxCarried,
	}}})
}

// run keeps the stream alive until it is over.
func (w *watch) run(ctx context.Context) error {
	pulse := time.NewTimer(w.set.heartbeat)
	defer pulse.Stop()
	age := w.set.age
	expiry := time.NewTimer(age - age/10 + rand.N(age/5+1)) //nolint:gosec // it spreads load
	defer expiry.Stop()
	for {
		select {
		case <-w.ctx.Done():
			if ctx.Err() != nil {
				return ctx.Err() // the peer left, or its deadline passed
			}
			return context.Cause(w.ctx)
		case <-w.set.quit:
			w.close()
			w.running.Wait() // the host ends each with a frame of its own
			return w.out.finish(closingFrame(troupev1.CloseReason_CLOSE_REASON_SHUTDOWN, "the server is stopping", time.Second))
		case <-expiry.C:
			w.close()
			return w.out.finish(closingFrame(troupev1.CloseReason_CLOSE_REASON_EXPIRED, "the stream has reached its maximum age", 0))
		case <-pulse.C:
			if idle := w.out.idle(); idle < w.set.heartbeat {
				pulse.Reset(w.set.heartbeat - idle)
				continue
			}
			if err := w.out.send(&troupev1.WatchFrame{Frame: &troupev1.WatchFrame_Heartbeat{Heartbeat: new(troupev1.Heartbeat)}}); err != nil {
				return err
			}
			pulse.Reset(w.set.heartbeat)
		}
	}
}

func closingFrame(reason troupev1.CloseReason, message string, reconnectAfter time.Duration) *troupev1.WatchFrame {
	return &troupev1.WatchFrame{Frame: &troupev1.WatchFrame_Closing{Closing: &troupev1.ConnectionClosing{
		Reason: reason, Message: message, ReconnectAfter: durationpb.New(reconnectAfter),
	}}}
}

// close has the stream carry nothing new.
func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

// end ends everything that the stream carries, and leaves the response to Connect.
func (w *watch) end() {
	w.set.mu.Lock()
	delete(w.set.open, w.id)
	w.set.mu.Unlock()
	w.close()
	w.cancel(nil)
	w.running.Wait()
	w.out.leave()
}
