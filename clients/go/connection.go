// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
)

const (
	// eventBuffer bounds the events that wait for the consumer of a Connection.
	eventBuffer = 256
	// connectionWait bounds how long a call waits for an open connection.
	connectionWait = 10 * time.Second
	// connectionAttempts bounds how often a call is sent, each time on another
	// connection.
	connectionAttempts = 3
	// connectionGone is the reason of calls whose connection is no more.
	connectionGone = "connection_gone"
)

var (
	errConnectionGone   = errors.New("troupe: the server does not know the connection any more")
	errConnectionClosed = errors.New("troupe: the connection was closed")
)

// Connection is one subscription whose calls belong to it: the actor sees them come
// from the connection, with its parameters and state. [Connect] makes it.
//
// A goroutine keeps the connection open as [Events] does, and up to 256 events wait
// for their consumer. When they are full the connection is no longer read, so a
// program that only sends must read and drop [Connection.Events] too. The goroutine
// ends with [Connection.Close], with the context given to Connect, or when the
// server ends the connection for good.
//
// A Connection is safe for concurrent use; each event goes to one of the consumers.
type Connection[C any, Ev proto.Message] struct {
	actor  C
	client *connect.Client
	events chan item[Ev]
	stop   context.CancelCauseFunc
	ended  chan struct{} // closed when the goroutine has ended
	err    error         // why; set before ended is closed

	mu      sync.Mutex
	status  Status                  // guarded by mu
	token   string                  // guarded by mu; actor-conn of the open connection, or ""
	changed chan struct{}           // guarded by mu; closed when token changes
	cut     context.CancelCauseFunc // guarded by mu; ends the current stream
}

type item[Ev proto.Message] struct {
	event Ev
	err   error
}

// Connect opens a connection to the actor that client is bound to, by
// [Client.GetOrCreate] or one of the other methods that bind. NewClient is the
// generated constructor, subscribe the subscription's method expression:
//
//	conn := troupe.Connect(ctx, client.GetOrCreate("acme", "general"),
//		chatv1connect.NewChatRoomClient, chatv1connect.ChatRoomClient.Subscribe,
//		&chatv1.SubscribeRequest{User: "ada"})
//	defer conn.Close()
//	conn.Actor().Send(ctx, &chatv1.SendRequest{Text: "hi"})
//
// It returns at once; calls wait until the connection is open. The connection lives
// until ctx ends or it is closed. Request must not be changed meanwhile.
func Connect[C any, Req any, Ev proto.Message, S Stream[Ev]](
	ctx context.Context,
	client *connect.Client,
	newClient func(*connect.Client) C,
	subscribe func(C, context.Context, Req) (S, error),
	request Req,
	opts ...EventOption,
) *Connection[C, Ev] {
	c := &Connection[C, Ev]{
		events:  make(chan item[Ev], eventBuffer),
		ended:   make(chan struct{}),
		changed: make(chan struct{}),
	}
	c.client = connect.NewClient(overClient{client}, c.intercept)
	c.actor = newClient(c.client)

	var cfg eventConfig
	for _, opt := range opts {
		opt.applyEvent(&cfg)
	}
	cfg.status = c.setStatus(cfg.status)
	cfg.opened = func(opened *troupev1.ConnectionOpened) { c.setToken(opened.GetConnection()) }
	cfg.attempt = c.setCut

	ctx, c.stop = context.WithCancelCause(ctx)
	subscriber := newClient(client)
	frames := events(ctx, func(ctx context.Context, request Req) (S, error) {
		return subscribe(subscriber, ctx, request)
	}, request, cfg)
	go c.pump(ctx, frames)
	return c
}

// Actor returns the generated client whose calls belong to the connection. A call
// waits up to 10 s for the connection to open. It fails with unavailable, reason
// connection_gone and outcome NOT_EXECUTED if it does not, and with
// failed_precondition and the same if it has ended for good. A call that arrives
// after its connection is gone had no effect and is made again on the next one; one
// that waits to be repeated when its connection goes is not sent over it any more.
func (c *Connection[C, Ev]) Actor() C { return c.actor }

// Client returns what [Connection.Actor] is made of, for the generated clients of
// other services.
func (c *Connection[C, Ev]) Client() *connect.Client { return c.client }

// Status returns the connection's present state.
func (c *Connection[C, Ev]) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Events yields the connection's events; see [Events]. An iteration that is left
// can be taken up by another one. It ends with the error that ended the connection.
func (c *Connection[C, Ev]) Events() iter.Seq2[Ev, error] {
	return func(yield func(Ev, error) bool) {
		for item := range c.events {
			if !yield(item.event, item.err) {
				return
			}
		}
		<-c.ended
		var none Ev
		yield(none, c.err)
	}
}

// Close ends the connection and waits until its goroutine has ended. Calls that are
// under way go on. It is idempotent and returns nil.
func (c *Connection[C, Ev]) Close() error {
	c.stop(errConnectionClosed)
	<-c.ended
	return nil
}

// pump keeps the connection open and hands its events to the consumers.
func (c *Connection[C, Ev]) pump(ctx context.Context, frames iter.Seq2[Ev, error]) {
	defer close(c.ended)
	defer close(c.events)
	defer c.stop(nil)
	for event, err := range frames {
		if err != nil && !errors.Is(err, ErrGap) {
			c.err = err
			break
		}
		select {
		case c.events <- item[Ev]{event, err}:
		case <-ctx.Done():
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		c.err = cause
	}
	c.setStatus(nil)(Status{State: Ended, Err: c.err})
}

// setStatus returns the observer of the subscription.
func (c *Connection[C, Ev]) setStatus(then func(Status)) func(Status) {
	return func(status Status) {
		if status.State != Open {
			c.setToken("")
		}
		c.mu.Lock()
		c.status = status
		c.mu.Unlock()
		if then != nil {
			then(status)
		}
	}
}

func (c *Connection[C, Ev]) setToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != token {
		c.token = token
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

func (c *Connection[C, Ev]) setCut(cut context.CancelCauseFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

// drop ends the stream of a connection that the server no longer knows.
func (c *Connection[C, Ev]) drop(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token && c.cut != nil {
		c.cut(errConnectionGone)
	}
}

// intercept binds calls to the open connection.
func (c *Connection[C, Ev]) intercept(next connect.ClientFunc) connect.ClientFunc {
	return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
		if spec.StreamType == connect.StreamTypeUnary {
			return newUnaryCall(ctx, spec, next, c.run), nil
		}
		if _, err := c.bind(ctx, ""); err != nil {
			return nil, err
		}
		return next(ctx, spec)
	}
}

// run is the [unaryPolicy]. All attempts have one idempotency key, if the client
// makes any: one whose answer was lost may have had its effect.
func (c *Connection[C, Ev]) run(ctx context.Context, spec connect.Spec, once func(context.Context) error) error {
	whole := new(wholeCall)
	ctx = context.WithValue(ctx, wholeCallKey{}, whole)
	gone := ""
	for attempt := 1; ; attempt++ {
		token, err := c.bind(ctx, gone)
		if err != nil {
			return whole.verdict(spec, err)
		}
		whole.bound = func() error { return c.stillOpen(token) }
		err = once(ctx)
		if err == nil {
			return nil
		}
		if attempt == connectionAttempts || !isConnectionGone(err) {
			return whole.verdict(spec, err)
		}
		c.drop(token)
		gone = token
	}
}

// stillOpen fails, as the server would, if token is not that of the open connection.
func (c *Connection[C, Ev]) stillOpen(token string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token {
		return nil
	}
	return goneError(connect.CodeFailedPrecondition, "the connection of this call is not open")
}

// bind waits for an open connection other than gone and puts it into the call's
// metadata.
func (c *Connection[C, Ev]) bind(ctx context.Context, gone string) (string, error) {
	token, err := c.await(ctx, gone)
	if err != nil {
		return "", err
	}
	if info, ok := connect.CallInfoForClientContext(ctx); ok {
		info.RequestHeader().Set(wire.HeaderConn, token)
	}
	return token, nil
}

func (c *Connection[C, Ev]) await(ctx context.Context, gone string) (string, error) {
	var timeout <-chan time.Time
	for {
		c.mu.Lock()
		token, changed := c.token, c.changed
		c.mu.Unlock()
		if token != "" && token != gone {
			return token, nil
		}
		if timeout == nil {
			timer := time.NewTimer(connectionWait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-changed:
		case <-timeout:
			return "", goneError(connect.CodeUnavailable, "the connection is not open")
		case <-c.ended:
			return "", goneError(connect.CodeFailedPrecondition, "the connection has ended").WithCause(c.err)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func isConnectionGone(err error) bool {
	return connect.CodeOf(err) == connect.CodeFailedPrecondition && Reason(err) == connectionGone &&
		OutcomeOf(err) == troupev1.Outcome_OUTCOME_NOT_EXECUTED
}

func goneError(code connect.Code, message string) *connect.Error {
	return notSent(withDetail(connect.NewError(code, message), &errdetails.ErrorInfo{Reason: connectionGone, Domain: "troupe.v1"}))
}
