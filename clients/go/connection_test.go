// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	troupe "github.com/troupe-dev/troupe/clients/go"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// room is an actor without a network: a script for its subscription, a function for
// its calls. It stands where a generated client stands.
type room struct {
	*script
	client *connect.Client
}

func (r room) Subscribe(ctx context.Context, req *chatv1.SubscribeRequest) (*scriptStream, error) {
	return r.subscribe(ctx, req)
}

func (r room) send(ctx context.Context) error {
	_, err := chatv1connect.NewChatRoomClient(r.client).Send(ctx, &chatv1.SendRequest{Text: "hi"})
	return err
}

// sends records the actor-conn of every call and answers it.
type sends struct {
	answer func(conn string) error

	mu    sync.Mutex
	conns []string // guarded by mu
	keys  []string // guarded by mu
}

func (s *sends) NewClientStream(ctx context.Context, _ connect.Spec) (connect.ClientStream, error) {
	return fakeUnary{ctx: ctx, result: func() error {
		info, _ := connect.CallInfoForClientContext(ctx)
		conn := info.RequestHeader().Get("actor-conn")
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns = append(s.conns, conn)
		s.keys = append(s.keys, info.RequestHeader().Get("idempotency-key"))
		if s.answer == nil {
			return nil
		}
		return s.answer(conn)
	}}, nil
}

func (s *sends) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.conns...)
}

func dialRoom(t *testing.T, s *script, calls *sends) *troupe.Connection[room, *chatv1.ChatRoomEvent] {
	t.Helper()
	conn := troupe.Connect(t.Context(), troupe.Dial("", troupe.WithTransport(calls)).GetOrCreate("acme"),
		func(c *connect.Client) room { return room{s, c} }, room.Subscribe, ada)
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if leaked := s.leaked(); leaked != 0 {
			t.Errorf("%d streams are not closed", leaked)
		}
	})
	return conn
}

func openedAs(connection string) *chatv1.ChatRoomEvent {
	frame := openedFrame(true)
	frame.GetInfo().GetOpened().Connection = connection
	frame.GetInfo().GetOpened().HeartbeatInterval = nil
	return frame
}

// TestConnectionCalls checks that calls wait for the connection, carry it, and carry
// the next one after a reconnect.
func TestConnectionCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cut := connect.NewError(connect.CodeUnavailable, "cut")
		s := &script{parts: []part{
			{refuse: failure(connect.CodeUnavailable, "", retryIn(time.Second)).WithRemote()},
			{frames: frames(openedAs("1.s"), posted(1)), pause: time.Minute, end: cut},
			{frames: frames(openedAs("2.s"), posted(2))},
		}}
		calls := new(sends)
		conn := dialRoom(t, s, calls)
		if err := conn.Actor().send(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st := conn.Status(); st.State != troupe.Open || st.ConnectionID != "conn" {
			t.Errorf("status %+v", st)
		}
		<-time.After(2 * time.Minute)
		if err := conn.Actor().send(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"1.s", "2.s"}, calls.seen()); diff != "" {
			t.Errorf("calls came from (-want +got):\n%s", diff)
		}
		var ids []string
		for event, err := range conn.Events() {
			if err != nil {
				t.Fatal(err)
			}
			if ids = append(ids, event.GetMessagePosted().GetMessage().GetId()); len(ids) == 2 {
				break
			}
		}
		if diff := cmp.Diff([]string{"1", "2"}, ids); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// TestConnectionGone checks that a call whose connection the server no longer knows
// opens another one and is made again on it.
func TestConnectionGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{parts: []part{
			{frames: frames(openedAs("1.s"))},
			{frames: frames(openedAs("2.s"))},
		}}
		gone := failure(connect.CodeFailedPrecondition, "gone",
			&errdetails.ErrorInfo{Reason: "connection_gone", Domain: "troupe.v1"}, outcome(notExecuted)).WithRemote()
		calls := &sends{answer: func(conn string) error {
			if conn == "1.s" {
				return gone
			}
			return nil
		}}
		conn := dialRoom(t, s, calls)
		if err := conn.Actor().send(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"1.s", "2.s"}, calls.seen()); diff != "" {
			t.Errorf("calls came from (-want +got):\n%s", diff)
		}
	})
}

// TestP17_AKeyOutlivesTheConnection loses the answer of a call and then its
// connection: it is made again on the next one under the same key.
func TestP17_AKeyOutlivesTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{parts: []part{
			{frames: frames(openedAs("1.s"))},
			{frames: frames(openedAs("2.s"))},
		}}
		lost := true
		calls := &sends{answer: func(conn string) error {
			switch {
			case lost:
				lost = false
				return connect.NewError(connect.CodeUnavailable, "reset")
			case conn == "1.s":
				return failure(connect.CodeFailedPrecondition, "gone",
					&errdetails.ErrorInfo{Reason: "connection_gone", Domain: "troupe.v1"}, outcome(notExecuted)).WithRemote()
			}
			return failure(connect.CodeInvalidArgument, "no", outcome(notExecuted)).WithRemote()
		}}
		err := dialRoom(t, s, calls).Actor().send(t.Context())
		if got := troupe.OutcomeOf(err); got != unknown || connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("the outcome is %v of %v", got, err)
		}
		if len(calls.keys) != 3 || calls.keys[0] == "" || calls.keys[1] != calls.keys[0] || calls.keys[2] != calls.keys[0] {
			t.Errorf("the keys are %q", calls.keys)
		}
	})
}

// TestP17_ARepetitionIsNotSentOverALostConnection loses the connection of a call that
// waits to be repeated: it is made again on the next one, under the same key, and what
// its first attempt did stays unknown.
func TestP17_ARepetitionIsNotSentOverALostConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{parts: []part{
			{frames: frames(openedAs("1.s")), pause: time.Second, end: connect.NewError(connect.CodeUnavailable, "reset")},
			{frames: frames(openedAs("2.s"))},
		}}
		calls := &sends{answer: func(conn string) error {
			if conn == "1.s" {
				return failure(connect.CodeUnavailable, "lost", outcome(unknown),
					retryIn(2*time.Second)).WithRemote()
			}
			return failure(connect.CodeInvalidArgument, "no", outcome(notExecuted)).WithRemote()
		}}
		err := dialRoom(t, s, calls).Actor().send(t.Context())
		if got := troupe.OutcomeOf(err); got != unknown || connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("the outcome is %v of %v", got, err)
		}
		if diff := cmp.Diff([]string{"1.s", "2.s"}, calls.seen()); diff != "" {
			t.Errorf("calls came from (-want +got):\n%s", diff)
		}
		if len(calls.keys) != 2 || calls.keys[0] == "" || calls.keys[1] != calls.keys[0] {
			t.Errorf("the keys are %q", calls.keys)
		}
	})
}

// TestConnectionNeverThere checks that a call gives up when every connection is gone,
// and that another error of the same code is the caller's.
func TestConnectionNeverThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		info := &errdetails.ErrorInfo{Reason: "connection_gone", Domain: "troupe.v1"}
		for want, answer := range map[int]error{
			3: failure(connect.CodeFailedPrecondition, "gone", info, outcome(notExecuted)).WithRemote(),
			1: failure(connect.CodeFailedPrecondition, "gone", info, outcome(unknown)).WithRemote(),
		} {
			s := &script{parts: []part{
				{frames: frames(openedAs("1.s"))}, {frames: frames(openedAs("2.s"))}, {frames: frames(openedAs("3.s"))},
			}}
			calls := &sends{answer: func(string) error { return answer }}
			conn := dialRoom(t, s, calls)
			if err := conn.Actor().send(t.Context()); connect.CodeOf(err) != connect.CodeFailedPrecondition {
				t.Errorf("error %v", err)
			}
			if got := len(calls.seen()); got != want {
				t.Errorf("sent %d times, want %d", got, want)
			}
		}
	})
}

// TestConnectionNotOpen checks how calls fail while there is no connection.
func TestConnectionNotOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := new(sends)
		down := &script{parts: []part{{refuse: connect.NewError(connect.CodeUnavailable, "refused")}}}
		conn := dialRoom(t, down, calls)
		start := time.Now()
		err := conn.Actor().send(t.Context())
		if connect.CodeOf(err) != connect.CodeUnavailable || troupe.Reason(err) != "connection_gone" ||
			troupe.OutcomeOf(err) != notExecuted || time.Since(start) != 10*time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := conn.Actor().send(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the deadline", err)
		}

		denied := &script{parts: []part{{refuse: failure(connect.CodePermissionDenied, "no").WithRemote()}}}
		conn = dialRoom(t, denied, calls)
		err = conn.Actor().send(t.Context())
		if connect.CodeOf(err) != connect.CodeFailedPrecondition || troupe.Reason(err) != "connection_gone" {
			t.Errorf("error %v", err)
		}
		for range 2 { // the end can be read again
			for _, err := range conn.Events() {
				if connect.CodeOf(err) != connect.CodePermissionDenied {
					t.Errorf("ended with %v, want permission_denied", err)
				}
			}
		}
		if st := conn.Status(); st.State != troupe.Ended || connect.CodeOf(st.Err) != connect.CodePermissionDenied {
			t.Errorf("status %+v", st)
		}
		if n := len(calls.seen()); n != 0 {
			t.Errorf("%d calls were sent", n)
		}
	})
}

// TestConnectionFullBuffer checks that a connection whose events nobody reads still
// closes, and that none is lost before.
func TestConnectionFullBuffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		many := frames(openedAs("1.s"))
		for n := 1; n <= 1000; n++ {
			many = append(many, posted(n))
		}
		s := &script{parts: []part{{frames: many}}}
		conn := dialRoom(t, s, new(sends))
		synctest.Wait()
		n := 0
		for event, err := range conn.Events() {
			if err != nil {
				t.Fatal(err)
			}
			if n++; event.GetInfo().GetHead() != uint64(n) {
				t.Fatalf("event %d is number %d", n, event.GetInfo().GetHead())
			}
			if n == 500 {
				break
			}
		}
		synctest.Wait()
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := chatv1connect.NewChatRoomClient(conn.Client()).Send(t.Context(), &chatv1.SendRequest{Text: "x"}); connect.CodeOf(err) != connect.CodeFailedPrecondition {
			t.Errorf("a call after Close gave %v", err)
		}
	})
}
