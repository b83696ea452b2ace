// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"net/http"
	"sync"

	"github.com/troupe-dev/troupe/bench/load"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
)

// bareRoom is the limit for fan-out. Its streams write bytes that were built
// beforehand straight into net/http, and flush when nothing more is queued.
type bareRoom struct {
	chatv1connect.UnimplementedChatRoomHandler

	mu      sync.Mutex
	streams map[*bareStream]struct{} // guarded by mu
	frame   []byte                   // guarded by mu: one event in its envelope
}

// bareStream is one open stream and what it has yet to write.
type bareStream struct {
	mu    sync.Mutex
	queue [][]byte // guarded by mu
	kick  chan struct{}
}

func newBareRoom() *bareRoom {
	b := &bareRoom{streams: map[*bareStream]struct{}{}}
	b.setFrame(64)
	return b
}

// SetTyping publishes a burst of events, or one if nobody is typing.
func (b *bareRoom) SetTyping(_ context.Context, request *chatv1.SetTypingRequest) (*chatv1.SetTypingResponse, error) {
	b.publish(published(request))
	return &chatv1.SetTypingResponse{}, nil
}

// Send publishes a burst of events.
func (b *bareRoom) Send(context.Context, *chatv1.SendRequest) (*chatv1.SendResponse, error) {
	b.publish(burst)
	return &chatv1.SendResponse{}, nil
}

func (b *bareRoom) publish(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.streams {
		s.mu.Lock()
		for range n {
			s.queue = append(s.queue, b.frame)
		}
		s.mu.Unlock()
		select {
		case s.kick <- struct{}{}:
		default:
		}
	}
}

func (b *bareRoom) subscribe(w http.ResponseWriter, r *http.Request) {
	s := &bareStream{kick: make(chan struct{}, 1)}
	b.mu.Lock()
	b.streams[s] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.streams, s)
		b.mu.Unlock()
	}()
	flush := http.NewResponseController(w).Flush
	w.Header().Set("Content-Type", "application/connect+proto")
	if flush() != nil {
		return
	}
	var spare [][]byte
	for {
		select {
		case <-s.kick:
		case <-r.Context().Done():
			return
		}
		s.mu.Lock()
		s.queue, spare = spare[:0], s.queue
		s.mu.Unlock()
		for _, frame := range spare {
			if _, err := w.Write(frame); err != nil {
				return
			}
		}
		if flush() != nil {
			return
		}
	}
}

// setFrame builds an event whose message has about the given size: an EventInfo
// that is padding, and a count.
func (b *bareRoom) setFrame(size int) {
	event := []byte{2<<3 | 2, 2, 1 << 3, 1}
	pad := max(size-len(event)-2, 0)
	message := binary.AppendUvarint([]byte{1<<3 | 2}, uint64(pad))
	message = append(message, make([]byte, pad)...)
	b.mu.Lock()
	b.frame = load.AppendEnvelope(nil, append(message, event...))
	b.mu.Unlock()
}
