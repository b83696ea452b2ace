// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	boardv1 "github.com/troupe-dev/troupe/gen/go/board/v1"
	"github.com/troupe-dev/troupe/gen/go/board/v1/boardv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
)

// board publishes what it is told to: one event of each delivery.
type board struct {
	boardv1connect.UnimplementedBoardHandler
	actors.Actor[actors.NoState, *boardv1.BoardEvent]

	kit *boardKit
}

func (b *board) Post(ctx context.Context, req *boardv1.PostRequest) (*boardv1.PostResponse, error) {
	for _, event := range req.GetEvents() {
		b.Broadcast(event)
	}
	if b.kit.post != nil {
		if err := b.kit.post(ctx, b); err != nil {
			return nil, err
		}
	}
	return new(boardv1.PostResponse), nil
}

func note(text string) *boardv1.BoardEvent {
	return &boardv1.BoardEvent{Event: &boardv1.BoardEvent_Note{Note: &boardv1.Note{Text: text}}}
}

func alarm(level int32) *boardv1.BoardEvent {
	return &boardv1.BoardEvent{Event: &boardv1.BoardEvent_Alarm{Alarm: &boardv1.Alarm{Level: level}}}
}

func moved(user string, x int32) *boardv1.BoardEvent {
	return &boardv1.BoardEvent{Event: &boardv1.BoardEvent_CursorMoved{CursorMoved: &boardv1.Cursor{User: user, X: x}}}
}

func viewers(n int32) *boardv1.BoardEvent {
	return &boardv1.BoardEvent{Event: &boardv1.BoardEvent_Viewers{Viewers: &boardv1.Count{N: n}}}
}

func ping(n int32) *boardv1.BoardEvent {
	return &boardv1.BoardEvent{Event: &boardv1.BoardEvent_Ping{Ping: &boardv1.Ping{N: n}}}
}

// brief says in a word what an event is.
func brief(event *boardv1.BoardEvent) string {
	switch e := event.GetEvent().(type) {
	case *boardv1.BoardEvent_Note:
		return e.Note.GetText()
	case *boardv1.BoardEvent_Alarm:
		return fmt.Sprintf("alarm%d", e.Alarm.GetLevel())
	case *boardv1.BoardEvent_CursorMoved:
		return fmt.Sprintf("%s%d", e.CursorMoved.GetUser(), e.CursorMoved.GetX())
	case *boardv1.BoardEvent_Viewers:
		return fmt.Sprintf("viewers%d", e.Viewers.GetN())
	case *boardv1.BoardEvent_Ping:
		return fmt.Sprintf("ping%d", e.Ping.GetN())
	}
	if event.GetInfo().GetHeartbeat() != nil {
		return "heartbeat"
	}
	return "?"
}

// boardKit is a fresh host with boards, for one test.
type boardKit struct {
	*actors.Host

	tb    testing.TB
	store store.Store
	post  func(context.Context, *board) error // in each Post, after its events
	watch *actors.Method
	posts *actors.Method
}

// newBoards starts a host over s (nil means a new store in memory).
func newBoards(tb testing.TB, s store.Store, options ...actors.Option) *boardKit {
	tb.Helper()
	k := &boardKit{tb: tb, store: s}
	if s == nil {
		k.store = memory.New(memory.Options{})
	}
	registry := actors.NewRegistry()
	actors.Register(registry, boardv1connect.RegisterBoardHandler, func() *board { return &board{kit: k} }, options...)
	host, err := actors.NewHost(actors.Config{Registry: registry, Store: k.store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	k.Host = host
	for _, m := range host.Methods() {
		if m.Subscription {
			k.watch = m
		} else {
			k.posts = m
		}
	}
	tb.Cleanup(func() { (&kit{Host: host, tb: tb}).stop() })
	return k
}

func (k *boardKit) to(m *actors.Method, request proto.Message) *actors.Call {
	return &actors.Call{
		Target:  actors.Target{Address: store.Address{Namespace: "default", Type: boardv1connect.BoardName, Key: "b"}},
		Method:  m,
		Request: request,
		Codec:   binary{},
	}
}

// publish has the board publish events in one turn and returns the cursor after it.
func (k *boardKit) publish(events ...*boardv1.BoardEvent) (string, error) {
	reply, err := k.Call(k.tb.Context(), k.to(k.posts, &boardv1.PostRequest{Events: events}))
	return reply.Cursor, err
}

func (k *boardKit) mustPublish(events ...*boardv1.BoardEvent) string {
	k.tb.Helper()
	cursor, err := k.publish(events...)
	if err != nil {
		k.tb.Fatal(err)
	}
	return cursor
}

// watcher is a sink that keeps what it gets.
type watcher struct {
	frames chan *boardv1.BoardEvent
	opened chan *troupev1.EventInfo
	closed chan *troupev1.EventInfo
	ended  chan error
	gate   chan struct{} // unless nil, each Send takes a token first
	more   chan bool
	cancel context.CancelFunc
}

// Send implements [actors.Sink].
func (w *watcher) Send(frame *actors.Frame, more bool) error {
	if w.gate != nil {
		<-w.gate
	}
	encoded, err := frame.Encoded(binary{})
	if err != nil {
		return err
	}
	event := new(boardv1.BoardEvent)
	if err := proto.Unmarshal(encoded, event); err != nil {
		return err
	}
	switch info := event.GetInfo(); {
	case info.GetOpened() != nil:
		w.opened <- info
	case info.GetClosing() != nil:
		w.closed <- info
	default:
		w.frames <- event
	}
	w.more <- more
	return nil
}

// follow opens a connection that lives until the test ends or cancel.
func (k *boardKit) follow(edit func(*actors.Call, *watcher)) *watcher {
	k.tb.Helper()
	w := &watcher{
		frames: make(chan *boardv1.BoardEvent, 5000),
		opened: make(chan *troupev1.EventInfo, 1),
		closed: make(chan *troupev1.EventInfo, 1),
		ended:  make(chan error, 1),
		more:   make(chan bool, 5002),
	}
	call := k.to(k.watch, new(boardv1.WatchRequest))
	if edit != nil {
		edit(call, w)
	}
	ctx, cancel := context.WithCancel(k.tb.Context())
	w.cancel = cancel
	k.tb.Cleanup(cancel)
	go func() {
		sub, err := k.Subscribe(ctx, call)
		if err == nil {
			err = sub.Feed(ctx, w)
			sub.Close()
		}
		w.ended <- err
	}()
	return w
}

// resume follows after a cursor, and returns once the stream is open.
func (k *boardKit) resume(cursor string) *watcher {
	k.tb.Helper()
	w := k.follow(func(c *actors.Call, _ *watcher) { c.Resume = cursor })
	await(k.tb, "opened frame", w.opened)
	return w
}

// want awaits events.
func (w *watcher) want(tb testing.TB, want ...string) {
	tb.Helper()
	for n, want := range want {
		if got := brief(await(tb, "event", w.frames)); got != want {
			tb.Fatalf("event %d is %q, want %q", n, got, want)
		}
	}
}

// wantNoMore publishes one more event and has it follow at once.
func (w *watcher) wantNoMore(k *boardKit) {
	k.tb.Helper()
	k.mustPublish(note("no more"))
	w.want(k.tb, "no more")
}

func contextWithTimeout(tb testing.TB) (context.Context, context.CancelFunc) {
	tb.Helper()
	return context.WithTimeout(tb.Context(), 10*time.Second)
}
