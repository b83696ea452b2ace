// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	boardv1 "github.com/troupe-dev/troupe/gen/go/board/v1"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// TestP33_OnlyDurableEventsTakeNumbersAndAreReplayed publishes every kind of event.
func TestP33_OnlyDurableEventsTakeNumbersAndAreReplayed(t *testing.T) {
	t.Parallel()
	k := newBoards(t, nil)
	start := k.mustPublish()
	live := k.resume(start)
	k.mustPublish(note("a"), moved("ann", 1), viewers(1), ping(1), alarm(1))
	for _, want := range []struct {
		text string
		head uint64
	}{{"a", 1}, {"ann1", 1}, {"viewers1", 1}, {"ping1", 1}, {"alarm1", 2}} {
		event := await(t, "event", live.frames)
		if brief(event) != want.text || event.GetInfo().GetHead() != want.head || event.GetInfo().GetCursor() != cursorAt(start, int(want.head)) {
			t.Errorf("the event is %v, want %v", event, want)
		}
	}
	replayed := k.resume(start)
	replayed.want(t, "a", "alarm1")
	replayed.wantNoMore(k)
}

// TestP33_TargetedEventsTakeNoNumber sends by connection, tag and predicate.
func TestP33_TargetedEventsTakeNoNumber(t *testing.T) {
	t.Parallel()
	k := newBoards(t, nil, actors.OnConnect(func(_ *board, _ context.Context, conn *actors.Conn) error {
		request, _ := conn.Params().(*boardv1.WatchRequest)
		conn.SetTags(request.GetTags()...)
		return nil
	}))
	with := func(tags ...string) *watcher {
		w := k.follow(func(c *actors.Call, _ *watcher) { c.Request = &boardv1.WatchRequest{Tags: tags} })
		await(t, "opened frame", w.opened)
		return w
	}
	start := k.mustPublish()
	red, blue, both := with("red"), with("blue"), with("red", "blue")
	k.post = func(_ context.Context, b *board) error {
		if tags := b.Conns()[2].Tags(); fmt.Sprint(tags) != "[red blue]" {
			t.Errorf("the tags are %v", tags)
		}
		b.BroadcastTo("red", note("to red"))
		b.BroadcastTo("green", note("to nobody"))
		b.BroadcastWhere(func(c *actors.Conn) bool { return len(c.Tags()) == 1 }, note("to one tag"))
		b.SendTo(b.Conns()[1], note("to the second"))
		b.BroadcastExcept(b.Conns()[0], note("to the others"))
		return nil
	}
	cursor := k.mustPublish()
	k.post = nil
	if cursor != cursorAt(start, 1) {
		t.Errorf("the cursor is %s after one event for many and four for some", cursor)
	}
	red.want(t, "to red", "to one tag")
	blue.want(t, "to one tag", "to the second", "to the others")
	both.want(t, "to red", "to the others")
	for _, w := range []*watcher{red, blue, both} {
		w.wantNoMore(k)
		w.cancel()
		<-w.ended
	}
	k.resume(start).want(t, "to the others", "no more")
}

// TestP33_AnExceptionHoldsWhileAConnectionReplays excepts a connection that reads the
// log at the time.
func TestP33_AnExceptionHoldsWhileAConnectionReplays(t *testing.T) {
	t.Parallel()
	k := newBoards(t, nil)
	start := k.mustPublish()
	k.mustPublish(note("1"))
	gate := make(chan struct{}, 100)
	w := k.follow(func(c *actors.Call, w *watcher) { c.Resume, w.gate = start, gate })
	gate <- struct{}{}
	await(t, "opened frame", w.opened)
	k.post = func(_ context.Context, b *board) error {
		b.SendTo(b.Conns()[0], note("for you"))
		b.BroadcastExcept(b.Conns()[0], note("for others"))
		b.SendTo(b.Conns()[0], note("for you too"))
		return nil
	}
	k.mustPublish(note("2"))
	k.post = nil
	k.mustPublish(note("3"))
	for range cap(gate) {
		gate <- struct{}{}
	}
	w.want(t, "1", "2", "for you", "for you too", "3")
	k.resume(start).want(t, "1", "2", "for others", "3")
}

// TestP36_CoalescedEventsReplaceEachOther fills the buffer of a subscriber who does
// not read.
func TestP36_CoalescedEventsReplaceEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newBoards(t, nil)
		gate := make(chan struct{}, 100)
		w := k.follow(func(_ *actors.Call, w *watcher) { w.gate = gate })
		gate <- struct{}{}
		await(t, "opened frame", w.opened)
		k.mustPublish(ping(0))
		synctest.Wait() // the stream holds it; what follows waits in the buffer
		for n := int32(1); n <= 1000; n++ {
			k.mustPublish(moved("ann", n), moved("bob", n), viewers(n))
			if n == 500 {
				k.mustPublish(note("half"))
			}
		}
		k.mustPublish(moved("ann", 1001))
		for range cap(gate) {
			gate <- struct{}{}
		}
		w.want(t, "ping0", "half", "bob1000", "viewers1000", "ann1001")
		w.wantNoMore(k)
	})
}

// TestP36_ABurstOfOneTurnCutsNobodyWhoHadReadAll publishes far more than the buffer
// holds, with a connection's own events in between.
func TestP36_ABurstOfOneTurnCutsNobodyWhoHadReadAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newBoards(t, nil, actors.SubscriberBuffer(10, 100))
		w := k.follow(nil)
		await(t, "opened frame", w.opened)
		synctest.Wait() // it waits for events
		var want []string
		k.post = func(_ context.Context, b *board) error {
			for n := range 900 {
				text := fmt.Sprint("n", n)
				want = append(want, text)
				switch n % 3 {
				case 0:
					b.SendTo(b.Conns()[0], note(text))
				case 1:
					b.BroadcastExcept(nil, note(text))
				default:
					b.Broadcast(note(text))
				}
			}
			return nil
		}
		k.mustPublish()
		w.want(t, want...)
	})
}

// TestP36_TheBufferIsAnOption cuts at its bounds and not before.
func TestP36_TheBufferIsAnOption(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		option actors.Option
		event  *boardv1.BoardEvent
		before int // turns after which the subscriber is there
	}{
		"events": {actors.SubscriberBuffer(10, 1<<20), note("x"), 9}, // and one that the stream holds
		"bytes":  {actors.SubscriberBuffer(1000, 1000), note(strings.Repeat("x", 200)), 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k := newBoards(t, nil, test.option)
				gate := make(chan struct{}, 5000)
				w := k.follow(func(_ *actors.Call, w *watcher) { w.gate = gate })
				gate <- struct{}{}
				await(t, "opened frame", w.opened)
				start := k.mustPublish()
				k.mustPublish(test.event) // the stream takes it and waits
				synctest.Wait()
				for range test.before {
					k.mustPublish(test.event)
				}
				synctest.Wait()
				if len(w.closed) > 0 {
					t.Fatal("the subscriber was cut within its bounds")
				}
				k.mustPublish(test.event)
				for range cap(gate) - 1 {
					gate <- struct{}{}
				}
				synctest.Wait()
				info := await(t, "closing frame", w.closed)
				if info.GetClosing().GetReason() != troupev1.CloseReason_CLOSE_REASON_SLOW || info.GetClosing().GetReconnectAfter() == nil {
					t.Errorf("the stream closed with %v", info)
				}
				wantFailure(t, <-w.ended, failure{connect.CodeResourceExhausted, "slow_subscriber", notExecuted})
				if info.GetCursor() != cursorAt(start, 1) {
					t.Errorf("the closing cursor is %s, want that after the one event that was sent", info.GetCursor())
				}
				again := k.resume(info.GetCursor())
				for range test.before + 1 {
					again.want(t, brief(test.event))
				}
			})
		})
	}
}

// TestP33_Limits has the turn rolled back that publishes too much.
func TestP33_Limits(t *testing.T) {
	t.Parallel()
	k := newBoards(t, nil, actors.MaxEventBytes(100), actors.MaxTurnEvents(5))
	start := k.mustPublish()
	w := k.resume(start)
	_, err := k.publish(note("a"), note(strings.Repeat("x", 97)))
	wantFailure(t, err, failure{connect.CodeResourceExhausted, "event_too_large", notExecuted})
	_, err = k.publish(note("a"), ping(1), ping(2), ping(3), ping(4), ping(5))
	wantFailure(t, err, failure{connect.CodeResourceExhausted, "too_many_events", notExecuted})
	fits := strings.Repeat("x", 96)
	if cursor := k.mustPublish(note(fits), ping(1), ping(2), ping(3), ping(4)); cursor != cursorAt(start, 1) {
		t.Errorf("the cursor is %s, want that after one event", cursor)
	}
	w.want(t, fits, "ping1", "ping2", "ping3", "ping4")
	w.wantNoMore(k)
	k.mustPublish(note("a"), note("b"), note("c"), note("d"), note("e")) // each turn has its own count
}

// TestADisconnectIsPartOfItsTurn has a turn send and disconnect, and roll back.
func TestADisconnectIsPartOfItsTurn(t *testing.T) {
	t.Parallel()
	k := newBoards(t, nil)
	w := k.follow(nil)
	await(t, "opened frame", w.opened)
	fail := true
	k.post = func(_ context.Context, b *board) error {
		for _, conn := range b.Conns() {
			b.SendTo(conn, note("good bye"))
			conn.Disconnect("banned", "you were banned")
			b.SendTo(conn, note("nobody hears this"))
		}
		if fail {
			return actors.Errorf(connect.CodeAborted, "no", "no")
		}
		return nil
	}
	if _, err := k.publish(); err == nil {
		t.Fatal("the turn did not fail")
	}
	k.post, fail = nil, false
	w.wantNoMore(k) // still here
	k.post = func(_ context.Context, b *board) error {
		b.SendTo(b.Conns()[0], note("good bye"))
		b.Conns()[0].Disconnect("banned", "you were banned")
		b.SendTo(b.Conns()[0], note("nobody hears this"))
		return nil
	}
	k.mustPublish()
	w.want(t, "good bye")
	last := await(t, "closing frame", w.closed).GetClosing()
	if last.GetReason() != troupev1.CloseReason_CLOSE_REASON_DISCONNECTED || last.GetCode() != "banned" ||
		last.GetMessage() != "you were banned" || last.GetReconnectAfter() != nil {
		t.Errorf("the stream closed with %v", last)
	}
	if len(w.frames) > 0 {
		t.Errorf("after good bye came %s", brief(<-w.frames))
	}
}

func TestDisconnectBesideATurnIsNotOfTheTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var conn *actors.Conn
		k := newKit(t, nil, actors.OnConnect(func(_ *counter, _ context.Context, c *actors.Conn) error { conn = c; return nil }))
		r := k.subscribe("a", nil)
		synctest.Wait()
		gate := make(chan struct{})
		k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error {
			<-gate
			return errors.New("the turn fails")
		}
		done := make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "a", 1); done <- err }()
		synctest.Wait()
		conn.Disconnect("kicked", "")
		synctest.Wait()
		select {
		case why := <-r.closed:
			if why.GetCode() != "kicked" {
				t.Errorf("closed: %v", why)
			}
		default:
			t.Error("the connection is open")
		}
		close(gate)
		<-done
	})
}

// TestADisconnectInAWakeHookIsPartOfItsTurn has a wake hook send and disconnect, and
// fail the first time.
func TestADisconnectInAWakeHookIsPartOfItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wakes := 0
		k := newKit(t, nil, actors.SleepAfter(time.Second), actors.OnWake(func(c *counter, _ context.Context) error {
			for _, conn := range c.Conns() {
				c.SendTo(conn, changed(1000))
				conn.Disconnect("over", "it is over")
			}
			if wakes++; wakes == 2 {
				return errors.New("a wake that fails")
			}
			return nil
		}))
		sub := k.subscribe("a", nil)
		await(t, "opened frame", sub.opened)
		pass(3 * time.Second)
		if _, err := k.add(t.Context(), "a", 1); err == nil {
			t.Error("the wake did not fail")
		}
		synctest.Wait()
		if len(sub.frames) > 0 || len(sub.closed) > 0 {
			t.Errorf("a wake that failed has sent %d events and %d goodbyes", len(sub.frames), len(sub.closed))
		}
		pass(time.Second)
		k.mustAdd("a", 1)
		synctest.Wait()
		if len(sub.frames) != 1 || (<-sub.frames).GetCountChanged().GetCount() != 1000 {
			t.Error("what was sent before did not come, or not alone")
		}
		if closed := await(t, "closing frame", sub.closed); closed.GetCode() != "over" {
			t.Errorf("the stream ended with %v", closed)
		}
	})
}
