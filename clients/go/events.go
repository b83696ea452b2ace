// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"context"
	"iter"
	"strings"
	"time"

	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
)

// Stream is what a generated client returns for a subscription.
type Stream[Ev proto.Message] interface {
	// Receive returns the next message, or an error that ends the stream.
	Receive() (Ev, error)
	// Close releases the stream.
	Close() error
}

// Events follows an actor's events. Subscribe is the method of a generated client
// that the schema marks as the actor's subscription:
//
//	for event, err := range troupe.Events(ctx, room.Subscribe, &chatv1.SubscribeRequest{User: "ada"}) {
//		if errors.Is(err, troupe.ErrGap) {
//			// Events were missed: read the actor's state anew.
//			continue
//		}
//		if err != nil {
//			return err
//		}
//		…
//	}
//
// Each iteration is one subscription. It connects again by itself, and resumes
// after the last frame it saw, when the connection breaks, when the server falls
// silent for 2.5 of its heartbeat intervals, or when the server asks it to. Waits
// have full jitter and double from 250 ms to 30 s ([WithBackoff]); a stream that stayed open for
// 10 s starts them anew. A wait that the server asks for is kept. The first
// connection is no exception: while the server cannot be reached, the iteration
// waits. [OnStatus] shows what it does.
//
// The iteration ends, with one last error, when ctx ends (its error), when the
// server closes the stream for good ([ClosedError]) and when it refuses: any code
// but unavailable, aborted, deadline_exceeded, canceled, and resource_exhausted
// with a delay or in the middle of a stream. [ErrGap] alone does not end it.
//
// Frames that carry no event are not yielded; see [WithControlFrames]. An event of
// a kind that this program's schema does not know yet is yielded with its oneof
// unset.
//
// The events of one iteration come in order on the consumer's goroutine. While it
// is busy the server buffers a little and then cuts the stream; the iteration
// resumes, and what the actor has meanwhile dropped from its log is a gap.
func Events[Req any, Ev proto.Message, S Stream[Ev]](
	ctx context.Context,
	subscribe func(context.Context, Req) (S, error),
	request Req,
	opts ...EventOption,
) iter.Seq2[Ev, error] {
	var cfg eventConfig
	for _, opt := range opts {
		opt.applyEvent(&cfg)
	}
	return events(ctx, subscribe, request, cfg)
}

func events[Req any, Ev proto.Message, S Stream[Ev]](
	ctx context.Context,
	subscribe func(context.Context, Req) (S, error),
	request Req,
	cfg eventConfig,
) iter.Seq2[Ev, error] {
	return func(yield func(Ev, error) bool) {
		var none Ev
		field, err := infoField(none.ProtoReflect().Descriptor())
		if err != nil {
			yield(none, err)
			return
		}
		s := &subscription[Ev]{
			open: func(ctx context.Context) (Stream[Ev], error) {
				request, err := requestOf(ctx, request, cfg.request)
				if err != nil {
					return nil, err
				}
				return subscribe(ctx, request)
			},
			yield:  yield,
			field:  field,
			cfg:    cfg,
			cursor: cfg.cursor,
		}
		s.run(ctx)
	}
}

// EventOption configures [Events] and [Connect].
type EventOption interface {
	applyEvent(*eventConfig)
}

type eventConfig struct {
	cursor        string
	only          string // the events wanted, with commas between; empty: all
	controlFrames bool
	backoffBase   time.Duration // 0: the default
	backoffMax    time.Duration
	request       func(context.Context) (any, error) // unless nil, what [WithRequest] says
	status        func(Status)

	// For Connection.
	opened  func(*troupev1.ConnectionOpened)
	attempt func(cut context.CancelCauseFunc)
}

type eventOptionFunc func(*eventConfig)

func (f eventOptionFunc) applyEvent(cfg *eventConfig) { f(cfg) }

// WithCursor begins right after a cursor: the one of an event's EventInfo, or the
// actor-cursor metadata of a reply, so that reading and then following misses
// nothing. Default: the events from now on.
func WithCursor(cursor string) EventOption {
	return eventOptionFunc(func(cfg *eventConfig) { cfg.cursor = cursor })
}

// WithEvents yields some events only: the names of fields of the event union, as the
// schema has them. Default: every event.
func WithEvents(names ...string) EventOption {
	return eventOptionFunc(func(cfg *eventConfig) { cfg.only = strings.Join(names, ",") })
}

// WithRequest calls newRequest before each stream, at first and after every break, and
// subscribes with what it returns instead of the request given: for a token that
// expires. It may block until ctx ends. Its error is that of an attempt: the
// subscription tries again later, unless the error has one of the codes that end it.
func WithRequest[Req any](newRequest func(ctx context.Context) (Req, error)) EventOption {
	return eventOptionFunc(func(cfg *eventConfig) {
		cfg.request = func(ctx context.Context) (any, error) { return newRequest(ctx) }
	})
}

// requestOf returns the request of the next stream.
func requestOf[Req any](ctx context.Context, given Req, newRequest func(context.Context) (any, error)) (Req, error) {
	if newRequest == nil {
		return given, nil
	}
	made, err := newRequest(ctx)
	if err != nil {
		return given, err
	}
	request, ok := made.(Req)
	if !ok {
		return given, localErrorf("WithRequest makes a %T, and the subscription takes a %T", made, given)
	}
	return request, nil
}

// WithControlFrames yields every frame, also those that speak of the stream itself:
// opened, heartbeat and closing, in the control field of their EventInfo.
func WithControlFrames() EventOption {
	return eventOptionFunc(func(cfg *eventConfig) { cfg.controlFrames = true })
}

// WithBackoff sets how long a subscription waits before it connects again: a random time
// up to base, which doubles with each failure up to most. 0 is the default, 250 ms and
// 30 s. A server with many subscribers needs waits that spread them.
func WithBackoff(base, most time.Duration) EventOption {
	return eventOptionFunc(func(cfg *eventConfig) { cfg.backoffBase, cfg.backoffMax = max(0, base), max(0, most) })
}

// OnStatus calls f at each change of the subscription's state, from the goroutine
// that runs the subscription. F must not block.
func OnStatus(f func(Status)) EventOption {
	return eventOptionFunc(func(cfg *eventConfig) { cfg.status = f })
}
