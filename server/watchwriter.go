// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// errStreamOver is what is left of a stream that has sent its last frame.
var errStreamOver = errors.New("the shared stream is over")

// keptBytes bounds the memory that a quiet stream keeps for its frames.
const keptBytes = 16 << 10

// Field numbers of troupe.v1.WatchFrame and troupe.v1.Payload.
const (
	frameSubscription = 1
	frameEvent        = 5
	payloadBinary     = 1
)

// watchWriter writes the frames of one shared stream, those of all that it carries.
// It is safe for concurrent use. An event is not encoded again: its bytes, which
// every subscriber shares, are put into a frame that says whose it is.
type watchWriter struct {
	stream interface{ SendHeaders() error }
	codec  actors.Codec
	out    *streamWriter
	fail   context.CancelCauseFunc // ends the stream

	started time.Time
	sentAt  atomic.Int64 // since started
	waiting atomic.Int32 // who is about to write

	mu     sync.Mutex
	frame  []byte // guarded by mu; scratch
	opened bool   // guarded by mu
	over   bool   // guarded by mu; nothing more is written
}

func newWatchWriter(stream interface{ SendHeaders() error }, codec actors.Codec, out *streamWriter, fail context.CancelCauseFunc) *watchWriter {
	return &watchWriter{stream: stream, codec: codec, out: out, fail: fail, started: time.Now()}
}

// event writes a frame of a subscription. more says that another one of the same
// subscription follows.
func (w *watchWriter) event(number uint32, frame *actors.Frame, more bool) error {
	event, err := frame.Encoded(w.codec)
	if err != nil {
		return err
	}
	return w.write(more, false, func(dst []byte) ([]byte, error) {
		if w.codec.Name() == connect.CodecNameJSON {
			dst = append(dst, `{"subscription":`...)
			dst = strconv.AppendUint(dst, uint64(number), 10)
			dst = append(dst, `,"event":{"json":`...)
			dst = append(dst, event...)
			return append(dst, `}}`...), nil
		}
		payload := protowire.SizeTag(payloadBinary) + protowire.SizeBytes(len(event))
		dst = protowire.AppendTag(dst, frameSubscription, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(number))
		dst = protowire.AppendTag(dst, frameEvent, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(payload))
		dst = protowire.AppendTag(dst, payloadBinary, protowire.BytesType)
		return protowire.AppendBytes(dst, event), nil
	})
}

// send writes a frame that is made for this stream alone.
func (w *watchWriter) send(frame *troupev1.WatchFrame) error { return w.encode(frame, false) }

// sendAfter is send that calls do when it is the frame's turn, unless the stream is over.
func (w *watchWriter) sendAfter(do func(), frame *troupev1.WatchFrame) error {
	return w.write(false, false, func(dst []byte) ([]byte, error) {
		do()
		return w.codec.Append(dst, frame)
	})
}

// finish writes the stream's last frame.
func (w *watchWriter) finish(frame *troupev1.WatchFrame) error { return w.encode(frame, true) }

func (w *watchWriter) encode(frame *troupev1.WatchFrame, last bool) error {
	return w.write(false, last, func(dst []byte) ([]byte, error) { return w.codec.Append(dst, frame) })
}

// write writes one message after its envelope. It flushes unless more is about to
// follow, of this subscription or of another one that waits to write.
func (w *watchWriter) write(more, last bool, encode func([]byte) ([]byte, error)) error {
	w.waiting.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	others := w.waiting.Add(-1) > 0
	if w.over {
		return errStreamOver
	}
	err := w.writeLocked(encode, more || others && !last)
	if err != nil {
		err = callerGone.errorf("the subscriber is gone or takes nothing").WithCause(err)
		w.fail(err)
	}
	w.over = last || err != nil
	w.sentAt.Store(int64(time.Since(w.started)))
	return err
}

func (w *watchWriter) writeLocked(encode func([]byte) ([]byte, error), more bool) (err error) {
	if !w.opened {
		w.opened = true
		if err := w.stream.SendHeaders(); err != nil {
			return err
		}
	}
	if w.frame, err = encode(append(w.frame[:0], make([]byte, envelopeBytes)...)); err != nil {
		return fmt.Errorf("encode a frame: %w", err)
	}
	binary.BigEndian.PutUint32(w.frame[1:], uint32(len(w.frame)-envelopeBytes))
	err = w.out.write(w.frame, more)
	if cap(w.frame) > keptBytes && !more {
		w.frame = nil
	}
	return err
}

// idle returns how long nothing has been written.
func (w *watchWriter) idle() time.Duration {
	return time.Since(w.started) - time.Duration(w.sentAt.Load())
}

// leave leaves the response to Connect, which ends the stream.
func (w *watchWriter) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.out.finish()
}
