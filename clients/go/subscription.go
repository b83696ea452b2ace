// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// How a subscription connects again.
const (
	backoffBase = 250 * time.Millisecond // doubles with each failure
	backoffMax  = 30 * time.Second
	// stableAfter is how long a stream must stay open for the back-off to begin anew.
	stableAfter = 10 * time.Second
	// openTimeout bounds the wait for a stream's first frame.
	openTimeout = 30 * time.Second
	// A stream is cut after heartbeatSlackNum/heartbeatSlackDen heartbeat
	// intervals without a frame.
	heartbeatSlackNum, heartbeatSlackDen = 5, 2
)

var (
	errConsumerLeft = errors.New("troupe: the consumer left")
	errSilent       = errors.New("troupe: the server fell silent")
	errStreamEnded  = errors.New("troupe: the server ended the stream without a word")
)

// subscription is the state of one iteration of [Events]. One goroutine uses it.
type subscription[Ev proto.Message] struct {
	open  func(context.Context) (Stream[Ev], error)
	yield func(Ev, error) bool
	field protoreflect.FieldDescriptor
	cfg   eventConfig

	cursor   string // where to resume; empty: from now
	lost     error  // why cursor was given up; the consumer is told when the next stream is open
	failures int    // streams that failed in a row without being stable
}

// run opens one stream after another until there is nothing more to open.
func (s *subscription[Ev]) run(ctx context.Context) {
	err := s.follow(ctx)
	if errors.Is(err, errConsumerLeft) {
		s.report(Status{State: Ended})
		return
	}
	s.report(Status{State: Ended, Err: err})
	var none Ev
	s.yield(none, err)
}

// follow returns why the subscription ended.
func (s *subscription[Ev]) follow(ctx context.Context) error {
	for {
		s.report(Status{State: Connecting})
		end := s.stream(ctx)
		if err := ctx.Err(); err != nil && !errors.Is(end.err, errConsumerLeft) {
			return err
		}
		if end.final() {
			return end.err
		}
		if end.lostPlace {
			s.cursor, s.lost = "", end.err
			if !end.opened { // it is the cursor alone that the server refused
				continue
			}
		}
		wait := s.wait(end)
		s.report(Status{State: Waiting, RetryIn: wait, Err: end.err})
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// wait counts the failure and returns how long to wait before the next stream.
func (s *subscription[Ev]) wait(end ending) time.Duration {
	if end.stable || end.closing != nil {
		s.failures = 0
	}
	limit := s.backoffLimit()
	s.failures++
	if end.closing != nil {
		return max(0, end.closing.GetReconnectAfter().AsDuration()) + jitter(cmp.Or(s.cfg.backoffBase, backoffBase))
	}
	asked, _ := RetryDelay(end.err)
	return asked + jitter(limit)
}

// backoffLimit bounds the wait after the failures before this one.
func (s *subscription[Ev]) backoffLimit() time.Duration {
	limit, most := cmp.Or(s.cfg.backoffBase, backoffBase), cmp.Or(s.cfg.backoffMax, backoffMax)
	for range s.failures {
		if limit >= most/2 {
			return most
		}
		limit *= 2
	}
	return min(limit, most)
}

// ending is how one stream came to its end.
type ending struct {
	err       error
	opened    bool
	stable    bool
	lostPlace bool // the server cannot resume from the cursor
	closing   *troupev1.ConnectionClosing
}

// final reports whether no other stream should be opened.
func (e ending) final() bool {
	if e.closing != nil {
		return e.closing.GetReconnectAfter() == nil
	}
	if errors.Is(e.err, errConsumerLeft) {
		return true
	}
	wire, ok := errors.AsType[*connect.Error](e.err)
	if !ok || e.lostPlace {
		return false
	}
	switch wire.Code() {
	case connect.CodeUnavailable, connect.CodeAborted, connect.CodeDeadlineExceeded, connect.CodeCanceled:
		return false
	case connect.CodeResourceExhausted: // a slow reader, or overload; not a message too large
		_, invited := RetryDelay(wire)
		return !invited && (!e.opened || !wire.IsRemote())
	case connect.CodeUnknown:
		return wire.IsRemote()
	case connect.CodeInternal: // a cut connection can look so
		return wire.IsRemote() || !e.opened && !errors.Is(wire, io.ErrUnexpectedEOF)
	}
	return true
}

// stream opens one stream and yields its events until it ends.
func (s *subscription[Ev]) stream(parent context.Context) ending {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	if s.cfg.attempt != nil {
		s.cfg.attempt(cancel)
	}
	watchdog := time.AfterFunc(openTimeout, func() { cancel(errSilent) })
	defer watchdog.Stop()

	stream, err := s.open(s.withMetadata(ctx))
	if err != nil {
		return s.failed(ctx, ending{err: err})
	}
	defer func() { _ = stream.Close() }() // what it says does not matter any more
	return s.failed(ctx, s.read(ctx, stream, watchdog))
}

// failed puts in what cut the stream, if it was this side, and whether the
// server refused the cursor.
func (s *subscription[Ev]) failed(ctx context.Context, end ending) ending {
	if cause := context.Cause(ctx); cause != nil && end.closing == nil && !errors.Is(end.err, errConsumerLeft) {
		end.err = cause
	}
	end.lostPlace = connect.CodeOf(end.err) == connect.CodeOutOfRange && s.cursor != ""
	return end
}

// withMetadata gives a stream its own CallInfo, with what the caller's asks to
// send and the cursor.
func (s *subscription[Ev]) withMetadata(ctx context.Context) context.Context {
	callers, _ := connect.CallInfoForClientContext(ctx)
	ctx, info := connect.NewClientContext(ctx)
	if callers != nil {
		for name, values := range callers.RequestHeader().All() {
			info.RequestHeader().SetValues(name, append([]string(nil), values...))
		}
	}
	if s.cursor != "" {
		info.RequestHeader().Set(wire.HeaderResume, s.cursor)
	}
	if s.cfg.only != "" {
		info.RequestHeader().Set(wire.HeaderEvents, s.cfg.only)
	}
	return ctx
}

// read yields the events of an open stream. The watchdog runs while it waits for the
// server, not while the consumer is at work.
func (s *subscription[Ev]) read(ctx context.Context, stream Stream[Ev], watchdog *time.Timer) (end ending) {
	var silence time.Duration // how much the watchdog allows; 0: any
	var openedAt time.Time
	defer func() { end.stable = end.opened && time.Since(openedAt) >= stableAfter }()
	for {
		event, err := stream.Receive()
		watchdog.Stop()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errStreamEnded
			}
			end.err = err
			return end
		}
		if ctx.Err() != nil {
			return end // cut while the frame came in: it will be replayed
		}
		info := infoOf(event.ProtoReflect(), s.field)
		if opened := info.GetOpened(); !end.opened {
			end.opened, openedAt = true, time.Now()
			silence = opened.GetHeartbeatInterval().AsDuration() * heartbeatSlackNum / heartbeatSlackDen
			s.opened(opened)
			// With the stream open, what the consumer reads now leaves no hole.
			if s.lost != nil || opened != nil && s.cursor != "" && !opened.GetResumed() {
				if err := s.gap(); err != nil {
					end.err = err
					return end
				}
			}
		}
		if cursor := info.GetCursor(); cursor != "" && info.GetClosing() == nil {
			s.cursor = cursor // a closing frame may follow events that were dropped
		}
		if (info.GetControl() == nil || s.cfg.controlFrames) && !s.yield(event, nil) {
			end.err = errConsumerLeft
			return end
		}
		if closing := info.GetClosing(); closing != nil {
			end.closing = closing
			end.err = &ClosedError{Reason: closing.GetReason(), Code: closing.GetCode(), Message: closing.GetMessage()}
			return end
		}
		if silence > 0 {
			watchdog.Reset(silence)
		}
	}
}

func (s *subscription[Ev]) opened(opened *troupev1.ConnectionOpened) {
	s.report(Status{
		State:        Open,
		ConnectionID: opened.GetConnectionId(),
		ActorID:      opened.GetActorId(),
		Resumed:      opened.GetResumed(),
	})
	if s.cfg.opened != nil {
		s.cfg.opened(opened)
	}
}

// gap tells the consumer that events were missed.
func (s *subscription[Ev]) gap() error {
	var none Ev
	err := ErrGap
	if s.lost != nil {
		err = errors.Join(ErrGap, s.lost)
		s.lost = nil
	}
	if !s.yield(none, err) {
		return errConsumerLeft
	}
	return nil
}

func (s *subscription[Ev]) report(status Status) {
	if s.cfg.status != nil {
		s.cfg.status(status)
	}
}
