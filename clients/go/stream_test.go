// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// script is a subscription without a network: the nth stream plays the nth part.
// When there are no more parts, the last one is played again.
type script struct {
	parts []part

	mu      sync.Mutex
	opens   []open // guarded by mu
	streams int    // guarded by mu; opened and not closed
}

// part is what one stream does.
type part struct {
	refuse error                   // instead of a stream
	frames []*chatv1.ChatRoomEvent // sent at once
	pause  time.Duration           // then so long nothing
	end    error                   // then this; nil: silence for ever
}

// open is what one attempt asked for.
type open struct {
	at     time.Time
	resume string
	token  string
}

func (s *script) subscribe(ctx context.Context, _ *chatv1.SubscribeRequest) (*scriptStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := open{at: time.Now()}
	if info, ok := connect.CallInfoForClientContext(ctx); ok {
		o.resume = info.RequestHeader().Get("actor-resume")
		o.token = info.RequestHeader().Get("authorization")
	}
	p := s.parts[min(len(s.opens), len(s.parts)-1)]
	s.opens = append(s.opens, o)
	if p.refuse != nil {
		return nil, p.refuse
	}
	s.streams++
	return &scriptStream{ctx: ctx, script: s, part: p}, nil
}

func (s *script) opened() []open {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]open(nil), s.opens...)
}

// leaked returns the number of streams that nobody closed.
func (s *script) leaked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams
}

type scriptStream struct {
	ctx    context.Context
	script *script
	part   part
	next   int
	once   sync.Once
}

func (s *scriptStream) Receive() (*chatv1.ChatRoomEvent, error) {
	if s.next < len(s.part.frames) {
		s.next++
		return s.part.frames[s.next-1], nil
	}
	var done <-chan time.Time
	if s.part.end != nil {
		timer := time.NewTimer(s.part.pause)
		defer timer.Stop()
		done = timer.C
	}
	select {
	case <-done:
		return nil, s.part.end
	case <-s.ctx.Done():
		return nil, connect.NewError(connect.CodeCanceled, s.ctx.Err().Error()).WithCause(s.ctx.Err())
	}
}

func (s *scriptStream) Close() error {
	s.once.Do(func() {
		s.script.mu.Lock()
		defer s.script.mu.Unlock()
		s.script.streams--
	})
	return nil
}

func openedFrame(resumed bool) *chatv1.ChatRoomEvent {
	return &chatv1.ChatRoomEvent{Info: &troupev1.EventInfo{Cursor: "c0", Control: &troupev1.EventInfo_Opened{
		Opened: &troupev1.ConnectionOpened{
			ConnectionId: "conn", Connection: "conn.secret", ActorId: "a1", Resumed: resumed,
			HeartbeatInterval: durationpb.New(2 * time.Second),
		},
	}}}
}

func heartbeat(cursor string) *chatv1.ChatRoomEvent {
	return &chatv1.ChatRoomEvent{Info: &troupev1.EventInfo{
		Cursor: cursor, Control: &troupev1.EventInfo_Heartbeat{Heartbeat: &troupev1.Heartbeat{}},
	}}
}

func closing(reason troupev1.CloseReason, after *durationpb.Duration) *chatv1.ChatRoomEvent {
	return &chatv1.ChatRoomEvent{Info: &troupev1.EventInfo{Control: &troupev1.EventInfo_Closing{
		Closing: &troupev1.ConnectionClosing{Reason: reason, Message: "bye", ReconnectAfter: after},
	}}}
}

// posted is the nth event of the log.
func posted(n int) *chatv1.ChatRoomEvent {
	return &chatv1.ChatRoomEvent{
		Info:  &troupev1.EventInfo{Cursor: "c" + strconv.Itoa(n), Head: uint64(n)},
		Event: &chatv1.ChatRoomEvent_MessagePosted{MessagePosted: &chatv1.MessagePosted{Message: &chatv1.Message{Id: strconv.Itoa(n)}}},
	}
}

func frames(f ...*chatv1.ChatRoomEvent) []*chatv1.ChatRoomEvent { return f }
