// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// resume subscribes after a cursor.
func (k *kit) resume(key, cursor string) *recorder {
	k.tb.Helper()
	return k.subscribe(key, func(c *actors.Call, _ *recorder) { c.Resume = cursor })
}

// cursor returns the actor's cursor, as a read reports it.
func (k *kit) cursor(key string) string {
	k.tb.Helper()
	reply, err := k.Call(k.tb.Context(), k.to(counterv1connect.CounterGetProcedure, key, new(counterv1.GetRequest)))
	if err != nil {
		k.tb.Fatal(err)
	}
	return reply.Cursor
}

// wantCounts awaits events that follow each other without a hole.
func wantCounts(tb testing.TB, r *recorder, from, to int64) {
	tb.Helper()
	for want := from; want <= to; want++ {
		event := await(tb, "event", r.frames)
		if got := event.GetCountChanged().GetCount(); got != want || event.GetInfo().GetHead() != uint64(want) {
			tb.Fatalf("the event is %v, want %d", event, want)
		}
	}
}

var outOfRange = failure{connect.CodeOutOfRange, "cursor_out_of_range", notExecuted}

// TestP34_ResumeReplaysWhatWasMissed resumes after each of some events, and gets
// those after it, from the store, and then the live ones. The log survives sleep and
// a restart.
func TestP34_ResumeReplaysWhatWasMissed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k := newKit(t, s)
	cursors := []string{k.cursor("a")}
	for range 200 {
		k.mustAdd("a", 1)
		cursors = append(cursors, k.cursor("a"))
	}
	check := func(t *testing.T, k *kit) {
		for _, after := range []int64{0, 1, 63, 64, 65, 128, 199, 200} {
			sub := k.resume("a", cursors[after])
			if !await(t, "opened frame", sub.opened).GetResumed() {
				t.Fatal("the stream is not resumed")
			}
			wantCounts(t, sub, after+1, 200)
			sub.cancel()
			<-sub.ended
		}
	}
	check(t, k)
	k.stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = embedded.Open(dir, embedded.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	k = newKit(t, s)
	check(t, k)
	live := k.resume("a", cursors[150])
	wantCounts(t, live, 151, 200)
	k.mustAdd("a", 1)
	wantCounts(t, live, 201, 201)
}

// TestP34_ACursorOfAnotherIncarnationIsRefused destroys an actor and makes it again,
// with events of the same numbers.
func TestP34_ACursorOfAnotherIncarnationIsRefused(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.mustAdd("a", 1)
	old := k.cursor("a")
	if _, err := k.Destroy(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Target); err != nil {
		t.Fatal(err)
	}
	k.mustAdd("a", 1)
	k.mustAdd("a", 1)
	wantFailure(t, await(t, "refusal", k.resume("a", old).ended), outOfRange)
	wantFailure(t, await(t, "refusal", k.resume("b", old).ended), outOfRange)
	wantCounts(t, k.resume("a", k.cursor("a")[:strings.LastIndexByte(old, '-')+1]+"0"), 1, 2)
}

// TestP33_AReplayedFrameIsTheFrameThatWasSent compares bytes.
func TestP33_AReplayedFrameIsTheFrameThatWasSent(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
		for range req.GetAmount() {
			c.changed()
		}
		return nil
	}
	start := k.cursor("a")
	follow := func(sink frames) {
		call := k.to(counterv1connect.CounterSubscribeProcedure, "a", new(counterv1.SubscribeRequest))
		call.Resume = start
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		go func() { _ = k.follow(ctx, call, sink) }()
		await(t, "opened frame", sink)
	}
	live, replayed := make(frames, 20), make(frames, 20)
	follow(live)
	k.mustAdd("a", 3)
	k.mustAdd("a", 5)
	follow(replayed)
	for n := range 10 {
		var got [2][]byte
		for m, sink := range []frames{live, replayed} {
			got[m], _ = await(t, "frame", sink).Enveloped(binary{})
		}
		if !bytes.Equal(got[0], got[1]) {
			t.Errorf("event %d was sent as %x and replayed as %x", n+1, got[0], got[1])
		}
	}
}

// TestP34_OrderOfAResumedStream has opened, replay, what the connect hook sends, live.
func TestP34_OrderOfAResumedStream(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, actors.OnConnect(func(c *counter, _ context.Context, conn *actors.Conn) error {
		c.SendTo(conn, changed(1000))
		c.Broadcast(changed(2000))
		c.SendTo(conn, changed(3000))
		return nil
	}))
	start := k.cursor("a")
	for range 100 {
		k.mustAdd("a", 1)
	}
	sub := k.resume("a", start)
	await(t, "opened frame", sub.opened)
	k.mustAdd("a", 1)
	var got []int64
	for range 104 {
		got = append(got, await(t, "event", sub.frames).GetCountChanged().GetCount())
	}
	var want []int64
	for n := range int64(100) {
		want = append(want, n+1)
	}
	if want = append(want, 1000, 2000, 3000, 101); !slices.Equal(got, want) {
		t.Errorf("the events are %v, want %v", got, want)
	}
}

func base36(n int) string { return strconv.FormatInt(int64(n), 36) }
