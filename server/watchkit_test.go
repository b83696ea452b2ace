// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/http"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// watching is a shared stream as its client has it.
type watching struct {
	client troupev1connect.ActorServiceClient
	stream troupev1connect.ActorServiceWatchClientStream
	opened *troupev1.WatchOpened
}

// openWatch opens a shared stream. The pairs are metadata.
func openWatch(t *testing.T, client troupev1connect.ActorServiceClient, subscriptions []*troupev1.Subscription, pairs ...string) *watching {
	t.Helper()
	ctx, _ := at(t.Context(), pairs...)
	stream, err := client.Watch(ctx, &troupev1.WatchRequest{Subscriptions: subscriptions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Close() })
	w := &watching{client: client, stream: stream}
	w.opened = w.next(t).GetOpened()
	if w.opened == nil {
		t.Fatal("the first frame is not the opened frame")
	}
	return w
}

// next receives a frame.
func (w *watching) next(t *testing.T) *troupev1.WatchFrame {
	t.Helper()
	frame, err := w.stream.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// add has the stream carry a subscription. The pairs are metadata.
func (w *watching) add(t *testing.T, s *troupev1.Subscription, pairs ...string) error {
	t.Helper()
	ctx, _ := at(t.Context(), pairs...)
	_, err := w.client.AddSubscription(ctx, &troupev1.AddSubscriptionRequest{Stream: w.opened.GetStream(), Subscription: s})
	return err
}

// counterFrame receives frames until one is a subscription's event.
func (w *watching) counterFrame(t *testing.T, number uint32) *counterv1.CounterEvent {
	t.Helper()
	for {
		frame := w.next(t)
		if frame.GetSubscription() == number {
			if frame.GetEnded() != nil {
				t.Fatalf("subscription %d has ended: %v", number, frame)
			}
			return counterEvent(t, frame)
		}
	}
}

// ended receives frames until a subscription's last, and returns its error.
func (w *watching) ended(t *testing.T, number uint32) *troupev1.SubscriptionError {
	t.Helper()
	for {
		if frame := w.next(t); frame.GetSubscription() == number && frame.GetEnded() != nil {
			return frame.GetEnded().GetError()
		}
	}
}

// counterEvent decodes the event of a frame, in either encoding.
func counterEvent(t *testing.T, frame *troupev1.WatchFrame) *counterv1.CounterEvent {
	t.Helper()
	event := new(counterv1.CounterEvent)
	var err error
	switch payload := frame.GetEvent().GetEncoding().(type) {
	case *troupev1.Payload_Binary:
		err = proto.Unmarshal(payload.Binary, event)
	case *troupev1.Payload_Json:
		var text []byte
		if text, err = protojson.Marshal(payload.Json); err == nil {
			err = protojson.Unmarshal(text, event)
		}
	default:
		t.Fatalf("the frame %v has no event", frame)
	}
	if err != nil {
		t.Fatal(err)
	}
	return event
}

// errorOf makes Connect's error of a subscription's.
func errorOf(e *troupev1.SubscriptionError) error {
	err := connect.NewError(connect.Code(e.GetCode()), e.GetMessage())
	for _, detail := range e.GetDetails() {
		err = err.WithDetail(&connect.ErrorDetail{Type: detail.GetType(), Value: detail.GetValue()})
	}
	return err
}

func counterNamed(number uint32, key ...string) *troupev1.Subscription {
	return &troupev1.Subscription{Number: number, Type: counterType, Key: key}
}

// dammedWriter is a response whose peer takes nothing while it is dammed.
type dammedWriter struct {
	header http.Header

	mu      sync.Mutex
	changed *sync.Cond
	dammed  bool         // guarded by mu
	cut     bool         // guarded by mu
	stuck   bool         // guarded by mu; a write waits
	body    bytes.Buffer // guarded by mu
}

func newDammedWriter() *dammedWriter {
	w := &dammedWriter{header: make(http.Header)}
	w.changed = sync.NewCond(&w.mu)
	return w
}

func (w *dammedWriter) Header() http.Header { return w.header }
func (w *dammedWriter) WriteHeader(int)     {}
func (w *dammedWriter) Flush()              {}

func (w *dammedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.dammed && !w.cut {
		w.stuck = true
		w.changed.Broadcast()
		w.changed.Wait()
	}
	w.stuck = false
	w.changed.Broadcast()
	if w.cut {
		return 0, context.DeadlineExceeded
	}
	return w.body.Write(p)
}

// SetWriteDeadline is how the server cuts a write.
func (w *dammedWriter) SetWriteDeadline(deadline time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = !deadline.IsZero() && deadline.Before(time.Now())
	w.changed.Broadcast()
	return nil
}

// dam stops or releases writes.
func (w *dammedWriter) dam(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dammed = on
	w.changed.Broadcast()
}

// await waits until condition holds; it has the lock.
func (w *dammedWriter) await(condition func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !condition() {
		w.changed.Wait()
	}
}

// framesLocked decodes what has been written.
func (w *dammedWriter) framesLocked(t *testing.T) []*troupev1.WatchFrame {
	t.Helper()
	var frames []*troupev1.WatchFrame
	for data := w.body.Bytes(); len(data) >= envelopeBytes; {
		size := int(binary.BigEndian.Uint32(data[1:])) + envelopeBytes
		if len(data) < size {
			break
		}
		frame := new(troupev1.WatchFrame)
		if data[0] == 0 {
			if err := proto.Unmarshal(data[envelopeBytes:size], frame); err != nil {
				t.Error(err)
			}
			frames = append(frames, frame)
		}
		data = data[size:]
	}
	return frames
}
