// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"

	"connectrpc.com/connect/v2"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"pgregory.net/rapid"
)

const (
	troupev1Unspecified = troupev1.CloseReason_CLOSE_REASON_UNSPECIFIED
	troupev1Destroyed   = troupev1.CloseReason_CLOSE_REASON_DESTROYED
	troupev1Shutdown    = troupev1.CloseReason_CLOSE_REASON_SHUTDOWN
)

// stream is one open subscription, and what it must have brought.
type stream struct {
	key    string
	want   []event
	ended  bool                 // the model says that it has ended
	reason troupev1.CloseReason // of its end; unspecified is any
	cancel context.CancelFunc

	mu     sync.Mutex
	got    []event                     // guarded by mu
	opened *troupev1.EventInfo         // guarded by mu
	closed *troupev1.ConnectionClosing // guarded by mu
	err    error                       // guarded by mu; how it ended
}

// subscribe opens a stream, which creates its actor.
func (w *world) subscribe(r *rapid.T) {
	if len(w.streams) >= 4 {
		return
	}
	key := someKey.Draw(r, "key")
	s := w.open(r, key, "")
	if w.model.actors[key] == nil {
		w.model.commit(key, w.model.begin(key))
	}
	w.streams = append(w.streams, s)
	synctest.Wait()
	if s.opened == nil {
		r.Fatalf("the stream of %q has not opened: %v", key, s.err)
	}
}

// open opens a stream, after a cursor if there is one.
func (w *world) open(r *rapid.T, key, cursor string) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{key: key, cancel: cancel}
	if cursor != "" {
		var info *connect.CallInfo
		ctx, info = connect.NewClientContext(ctx)
		info.RequestHeader().Set("actor-resume", cursor)
	}
	in, err := w.counter(key, troupe.GetOrCreate).Subscribe(ctx, &counterv1.SubscribeRequest{})
	if err != nil {
		r.Fatalf("subscribe to %q: %v", key, err)
	}
	go func() {
		defer cancel()
		defer func() { _ = in.Close() }()
		for {
			frame, err := in.Receive()
			s.take(frame, err)
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *stream) take(frame *counterv1.CounterEvent, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := frame.GetInfo()
	switch {
	case err != nil:
		s.err = err
	case info.GetOpened() != nil:
		s.opened = info
	case info.GetClosing() != nil:
		s.closed = info.GetClosing()
	case frame.GetCountChanged() != nil:
		s.got = append(s.got, event{frame.GetCountChanged().GetCount(), info.GetHead()})
	}
}

// unsubscribe leaves a stream.
func (w *world) unsubscribe(r *rapid.T) {
	if len(w.streams) == 0 {
		return
	}
	n := rapid.IntRange(0, len(w.streams)-1).Draw(r, "stream")
	w.streams[n].cancel()
	w.streams = slices.Delete(w.streams, n, n+1)
}

// hangUp leaves every stream.
func (w *world) hangUp() {
	for _, s := range w.streams {
		s.cancel()
	}
	synctest.Wait()
}

// expect says that the streams of an actor get events.
func (w *world) expect(key string, events []event) {
	for _, s := range w.streams {
		if s.key == key && !s.ended {
			s.want = append(s.want, events...)
		}
	}
}

// endStreamsOf says that the streams of an actor end; endStreams, that all do.
func (w *world) endStreamsOf(key string, reason troupev1.CloseReason) {
	for _, s := range w.streams {
		if s.key == key && !s.ended {
			s.ended, s.reason = true, reason
		}
	}
}

func (w *world) endStreams(reason troupev1.CloseReason) {
	for _, s := range w.streams {
		w.endStreamsOf(s.key, reason)
	}
}

// compare holds what has come in against the model: every event of a commit that went
// well, in order, numbered without a hole, and no other.
func (s *stream) compare(r *rapid.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what := fmt.Sprintf("a stream of %q", s.key)
	if !slices.Equal(s.got, s.want) {
		r.Fatalf("%s has brought %v, want %v", what, s.got, s.want)
	}
	for n := 1; n < len(s.got); n++ {
		if s.got[n].head != s.got[n-1].head+1 {
			r.Fatalf("%s has a hole: %v", what, s.got)
		}
	}
	switch {
	case s.ended && s.err == nil:
		r.Fatalf("%s goes on, and must have ended", what)
	case !s.ended && s.err != nil:
		r.Fatalf("%s has ended with %v", what, s.err)
	case s.ended && s.reason != troupev1Unspecified && s.closed.GetReason() != s.reason:
		r.Fatalf("%s was closed with %v, want %v", what, s.closed, s.reason)
	}
}
