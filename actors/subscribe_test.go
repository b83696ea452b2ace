// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func TestEventsArriveInCommitOrderAfterTheSnapshot(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, actors.OnConnect(func(c *counter, _ context.Context, conn *actors.Conn) error {
		c.SendTo(conn, changed(c.State().GetCount()))
		return nil
	}))
	k.mustAdd("a", 5)
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)
	for range 100 {
		k.mustAdd("a", 1)
	}
	var head uint64
	for want := int64(5); want <= 105; want++ {
		event := await(t, "event", sub.frames)
		if got := event.GetCountChanged().GetCount(); got != want {
			t.Fatalf("the event is %d, want %d", got, want)
		}
		if want == 5 {
			head = event.GetInfo().GetHead() // the snapshot takes no number
		} else if got := event.GetInfo().GetHead(); got != head+uint64(want-5) {
			t.Fatalf("event %d has the number %d after head %d", want, got, head)
		}
		if event.GetInfo().GetCursor() == "" || event.GetInfo().GetTime() == nil {
			t.Fatalf("the info is incomplete: %v", event.GetInfo())
		}
	}
}

func TestRepliesCarryTheCursorOfTheirEvents(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)
	reply, err := k.Call(t.Context(), k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 1}))
	if err != nil {
		t.Fatal(err)
	}
	if event := await(t, "event", sub.frames); event.GetInfo().GetCursor() != reply.Cursor {
		t.Errorf("the reply's cursor is %q, its event's %q", reply.Cursor, event.GetInfo().GetCursor())
	}
	resumed := k.subscribe("a", func(c *actors.Call, _ *recorder) { c.Resume = reply.Cursor })
	if !await(t, "opened frame", resumed.opened).GetResumed() {
		t.Error("a stream that begins at the head is not resumed")
	}
	k.mustAdd("a", 1)
	late := k.subscribe("a", func(c *actors.Call, _ *recorder) { c.Resume = reply.Cursor })
	wantFailure(t, await(t, "refusal", late.ended), failure{connect.CodeOutOfRange, "cursor_out_of_range", notExecuted})
}

func TestAFailedTurnPublishesNothing(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)
	_ = k.fail(t.Context(), "a", 100, false)
	_ = k.fail(t.Context(), "a", 100, true)
	k.mustAdd("a", 1)
	if got := await(t, "event", sub.frames).GetCountChanged().GetCount(); got != 1 {
		t.Errorf("the first event is %d, want 1", got)
	}
}

func TestBroadcastExceptAndSendTo(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	first, second := k.subscribe("a", nil), k.subscribe("a", nil)
	token := await(t, "opened frame", first.opened)
	await(t, "opened frame", second.opened)
	k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error {
		c.SendTo(actors.ConnOf(ctx), changed(1000))
		c.BroadcastExcept(actors.ConnOf(ctx), changed(2000))
		return nil
	}
	call := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 1})
	call.Conn = token.GetConnection()
	if _, err := k.Call(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	for sub, want := range map[*recorder]int64{first: 1000, second: 2000} {
		if got := await(t, "event", sub.frames).GetCountChanged().GetCount(); got != want {
			t.Errorf("the event is %d, want %d", got, want)
		}
		if got := await(t, "event", sub.frames).GetCountChanged().GetCount(); got != 1 {
			t.Errorf("the event is %d, want 1", got)
		}
	}
}

func TestACallOfAConnectionThatIsNotOpenFails(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	sub := k.subscribe("a", func(c *actors.Call, _ *recorder) { c.Subject = "ada" })
	token := await(t, "opened frame", sub.opened)
	call := func(conn, subject string) error {
		c := k.to(counterv1connect.CounterGetProcedure, "a", new(counterv1.GetRequest))
		c.Conn, c.Subject = conn, subject
		_, err := k.Call(t.Context(), c)
		return err
	}
	if err := call(token.GetConnection(), "ada"); err != nil {
		t.Errorf("its own call: %v", err)
	}
	gone := failure{connect.CodeFailedPrecondition, "connection_gone", notExecuted}
	wantFailure(t, call(token.GetConnection(), "eve"), gone)
	wantFailure(t, call(token.GetConnectionId()+".00000000000000000000000000000000", "ada"), gone)
	wantFailure(t, call(token.GetConnectionId(), "ada"), gone)
	sub.cancel()
	<-sub.ended
	wantFailure(t, call(token.GetConnection(), "ada"), gone)
}

func TestConnectHooks(t *testing.T) {
	t.Parallel()
	var d diary
	refuse := failure{connect.CodePermissionDenied, "not_you", notExecuted}
	k := newKit(t, nil,
		actors.BeforeConnect(func(_ context.Context, attempt actors.Attempt, params *counterv1.SubscribeRequest) error {
			d.note("before-connect")
			if attempt.Subject == "eve" {
				return actors.Errorf(connect.CodePermissionDenied, "not_you", "not you")
			}
			if (params == nil) != (attempt.Subject == "caller") {
				t.Errorf("%q has the params %v", attempt.Subject, params)
			}
			return nil
		}),
		actors.OnConnect(func(_ *counter, _ context.Context, conn *actors.Conn) error {
			d.note("connect")
			if conn.Subject() == "mallory" {
				return actors.Errorf(connect.CodePermissionDenied, "not_you", "not you")
			}
			return nil
		}),
		actors.OnDisconnect(func(c *counter, _ context.Context, conn *actors.Conn) error {
			d.note("disconnect")
			for _, open := range c.Conns() {
				if open == conn {
					t.Error("a connection that ended is among Conns")
				}
			}
			return nil
		}))
	as := func(subject string) func(*actors.Call, *recorder) {
		return func(c *actors.Call, _ *recorder) { c.Subject = subject }
	}
	wantFailure(t, await(t, "refusal", k.subscribe("a", as("eve")).ended), refuse)
	target := k.to(counterv1connect.CounterGetProcedure, "a", nil).Target
	if _, err := k.store.Load(t.Context(), target.Address); err == nil {
		t.Error("a caller whom before-connect refused created the actor")
	}
	wantFailure(t, await(t, "refusal", k.subscribe("a", as("mallory")).ended), refuse)
	sub := k.subscribe("a", as("ada"))
	await(t, "opened frame", sub.opened)
	call := k.to(counterv1connect.CounterGetProcedure, "a", new(counterv1.GetRequest))
	call.Subject = "caller"
	if _, err := k.Call(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	sub.cancel()
	if err := await(t, "end", sub.ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the stream ended with %v", err)
	}
	want := []string{"before-connect", "before-connect", "connect", "before-connect", "connect", "before-connect", "disconnect"}
	if got := d.take(); len(got) != len(want) {
		t.Errorf("the hooks were %v, want %v", got, want)
	}
}

func TestP36_ASlowSubscriberIsCutAndNeverSlowsATurn(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	gate := make(chan struct{}, 2000)
	slow := k.subscribe("a", func(_ *actors.Call, r *recorder) { r.gate = gate })
	gate <- struct{}{}
	await(t, "opened frame", slow.opened)
	quick := k.subscribe("a", nil)
	await(t, "opened frame", quick.opened)
	for want := int64(1); want <= 400; want++ {
		k.mustAdd("a", 1)
		if got := await(t, "event", quick.frames).GetCountChanged().GetCount(); got != want {
			t.Fatalf("the quick subscriber got %d, want %d", got, want)
		}
	}
	for range cap(gate) {
		gate <- struct{}{}
	}
	if why := await(t, "closing frame", slow.closed).GetReason(); why != troupev1.CloseReason_CLOSE_REASON_SLOW {
		t.Errorf("the slow stream closed with %v", why)
	}
	wantFailure(t, await(t, "end", slow.ended), failure{connect.CodeResourceExhausted, "slow_subscriber", notExecuted})
	if got := len(slow.frames); got > 256 {
		t.Errorf("a slow subscriber held %d frames", got)
	}
}

func TestP37_HeartbeatsCarryTheHead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, memory.New(memory.Options{}))
		sub := k.subscribe("a", nil)
		await(t, "opened frame", sub.opened)
		k.mustAdd("a", 1)
		began := time.Now()
		await(t, "event", sub.frames)
		pass(16 * time.Second)
		beat := await(t, "heartbeat", sub.frames)
		if beat.GetInfo().GetHeartbeat() == nil || beat.GetInfo().GetHead() != 1 {
			t.Errorf("got %v", beat)
		}
		if after := beat.GetInfo().GetTime().AsTime().Sub(began); after != 15*time.Second {
			t.Errorf("a heartbeat came after %v", after)
		}
		sub.cancel()
		<-sub.ended
	})
}

func TestADisconnectByTheActor(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	sub := k.subscribe("a", nil)
	await(t, "opened frame", sub.opened)
	k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error {
		for _, conn := range c.Conns() {
			conn.Disconnect("enough")
		}
		return nil
	}
	k.mustAdd("a", 1)
	last := await(t, "closing frame", sub.closed)
	if last.GetReason() != troupev1.CloseReason_CLOSE_REASON_DISCONNECTED || last.GetMessage() != "enough" || last.GetReconnectAfter() != nil {
		t.Errorf("the stream closed with %v", last)
	}
}

// frames is a sink that keeps the frames themselves.
type frames chan *actors.Frame

func (f frames) Send(frame *actors.Frame, _ bool) error {
	f <- frame
	return nil
}

func TestAFrameIsEncodedOncePerCodec(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	one, two := make(frames, 10), make(frames, 10)
	for _, sink := range []frames{one, two} {
		call := k.to(counterv1connect.CounterSubscribeProcedure, "a", new(counterv1.SubscribeRequest))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = k.follow(ctx, call, sink) }()
		<-sink
	}
	k.mustAdd("a", 1)
	first, second := await(t, "frame", one), await(t, "frame", two)
	if first != second {
		t.Error("two subscribers have two frames of one event")
	}
	asBinary, err := first.Encoded(binary{})
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := first.Encoded(json{})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := second.Encoded(json{}); &again[0] != &asJSON[0] {
		t.Error("a frame was encoded twice")
	}
	fromBinary, fromJSON := new(counterv1.CounterEvent), new(counterv1.CounterEvent)
	if err := errors.Join(proto.Unmarshal(asBinary, fromBinary), protojson.Unmarshal(asJSON, fromJSON)); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(fromBinary, fromJSON) || fromBinary.GetCountChanged().GetCount() != 1 || fromBinary.GetInfo().GetHead() != 1 {
		t.Errorf("binary %v, JSON %v", fromBinary, fromJSON)
	}
}

func TestP36_TheCursorOfACutStreamIsWhatItsPeerHasSeen(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	gate := make(chan struct{}, 2000)
	slow := make(chan *counterv1.CounterEvent, 2000)
	sub := k.subscribe("a", func(_ *actors.Call, r *recorder) { r.gate, r.frames = gate, slow })
	gate <- struct{}{}
	await(t, "opened frame", sub.opened)
	k.mustAdd("a", 1)
	gate <- struct{}{}
	last := await(t, "event", slow)
	for range 400 {
		k.mustAdd("a", 1)
	}
	for range cap(gate) {
		gate <- struct{}{}
	}
	if err := await(t, "end", sub.ended); err == nil {
		t.Fatal("the stream ended well")
	}
	for len(slow) > 0 {
		last = <-slow
	}
	if got, want := sub.closingInfo.GetCursor(), last.GetInfo().GetCursor(); got != want {
		t.Errorf("the closing frame's cursor is %q, the last event's %q", got, want)
	}
}
