// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	boardv1 "github.com/troupe-dev/troupe/gen/go/board/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// replays says whether a subscription after cursor is accepted, having checked that
// it gets exactly want, or else that the refusal names the head.
func (k *boardKit) replays(cursor, head string, want []string) bool {
	k.tb.Helper()
	w := k.follow(func(c *actors.Call, _ *watcher) { c.Resume = cursor })
	select {
	case info := <-w.opened:
		if info.GetCursor() != cursor || !info.GetOpened().GetResumed() {
			k.tb.Fatalf("opened with %v after %s", info, cursor)
		}
		w.want(k.tb, want...)
		w.cancel()
		<-w.ended
		return true
	case err := <-w.ended:
		wantFailure(k.tb, err, outOfRange)
		if got := metadataOf(k.tb, err)["cursor"]; got != head {
			k.tb.Fatalf("the refusal names the cursor %q, want %q", got, head)
		}
		return false
	}
}

func metadataOf(tb testing.TB, err error) map[string]string {
	tb.Helper()
	wire, ok := err.(*connect.Error) //nolint:errorlint // as a caller gets it
	if !ok {
		tb.Fatalf("%v is a %T", err, err)
	}
	for _, detail := range wire.Details() {
		message, err := connectproto.UnmarshalErrorDetail(detail)
		if err != nil {
			tb.Fatal(err)
		}
		if info, ok := message.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()
		}
	}
	return nil
}

// TestP34_TheWindowAgainstAModel publishes events of random sizes at random times,
// puts the actor to sleep in between, and resumes after every one of them: what the
// window holds is replayed, anything older is refused with the head.
func TestP34_TheWindowAgainstAModel(t *testing.T) {
	t.Parallel()
	type logged struct {
		at   time.Time
		size int
		text string
	}
	rapid.Check(t, func(rt *rapid.T) {
		window := actors.EventWindow{
			Count: rapid.IntRange(1, 30).Draw(rt, "count"),
			Bytes: rapid.SampledFrom([]int{1, 40, 100, 300, 100000}).Draw(rt, "bytes"),
			Age:   rapid.SampledFrom([]time.Duration{time.Second, 7 * time.Second, time.Hour}).Draw(rt, "age"),
		}
		turns := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, 30), 0, 12), 1, 12).Draw(rt, "sizes")
		waits := rapid.SliceOfN(rapid.IntRange(0, 4), len(turns), len(turns)).Draw(rt, "seconds")
		synctest.Test(t, func(t *testing.T) {
			k := newBoards(t, nil, actors.RetainEvents(window), actors.SleepAfter(3*time.Second))
			cursors := []string{k.mustPublish()}
			var log []logged
			for n, sizes := range turns {
				pass(time.Duration(waits[n]) * time.Second)
				var events []*boardv1.BoardEvent
				for _, size := range sizes {
					event := note(fmt.Sprintf("%d-%s", len(log), strings.Repeat("x", size)))
					log = append(log, logged{time.Now(), proto.Size(event), brief(event)})
					events = append(events, event)
				}
				cursor := k.mustPublish(events...)
				for len(cursors) < len(log) {
					cursors = append(cursors, cursorAt(cursor, len(cursors)))
				}
				if cursors = append(cursors[:len(log)], cursor); cursorAt(cursor, len(log)) != cursor {
					t.Fatalf("the cursor is %s after %d events", cursor, len(log))
				}
				head := len(log)
				bytes := 0
				holds := true
				for after := head; after >= 0; after-- {
					var want []string
					if after < head {
						event := log[after]
						bytes += event.size
						holds = holds && head-after <= window.Count && bytes <= window.Bytes && time.Since(event.at) <= window.Age
					}
					for _, event := range log[after:] {
						want = append(want, event.text)
					}
					if got := k.replays(cursors[after], cursor, want); got != holds {
						t.Fatalf("resume after %d of %d says %t, the model %t (%+v)", after, head, got, holds, window)
					}
				}
				if k.replays(cursorAt(cursor, head+1), cursor, nil) {
					t.Fatal("resume after an event that is not there is accepted")
				}
			}
			// What is trimmed is deleted in the end: at most a quarter and the last turn linger.
			d, _, err := k.Ensure(t.Context(), k.to(k.posts, nil).Target, nil)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := k.store.Scan(t.Context(), d.ID, store.KindEvent, store.Range{})
			if err != nil {
				t.Fatal(err)
			}
			if most := window.Count + window.Count/4 + 12; len(rows) > most {
				t.Errorf("the log has %d rows, and at most %d are to linger", len(rows), most)
			}
			if uint64(len(log)) != d.EventHead {
				t.Errorf("the head is %d after %d events", d.EventHead, len(log))
			}
		})
	})
}

// cursorAt is a cursor of the same log after the nth event.
func cursorAt(cursor string, n int) string {
	return cursor[:strings.LastIndexByte(cursor, '-')+1] + base36(n)
}

// TestP34_WindowEdges has the window of the schema: 20 events.
func TestP34_WindowEdges(t *testing.T) {
	t.Parallel()
	k := newBoards(t, nil)
	k.mustPublish()
	var texts []string
	for n := range 100 {
		texts = append(texts, fmt.Sprint("n", n))
		cursor := k.mustPublish(note(texts[n]))
		if n+1 < 22 {
			continue
		}
		if !k.replays(cursorAt(cursor, n+1-20), cursor, texts[n+1-20:]) {
			t.Fatalf("after event %d the oldest of 20 is gone", n+1)
		}
		if k.replays(cursorAt(cursor, n+1-21), cursor, nil) {
			t.Fatalf("after event %d the 21st is still there", n+1)
		}
	}
}

// TestP34_NoEventLog still numbers events, and resumes at the head only.
func TestP34_NoEventLog(t *testing.T) {
	t.Parallel()
	k := newBoards(t, nil, actors.NoEventLog())
	before := k.mustPublish()
	cursor := k.mustPublish(note("a"), note("b"))
	if cursor != cursorAt(before, 2) {
		t.Errorf("the cursor is %s after two events", cursor)
	}
	if !k.replays(cursor, cursor, nil) || k.replays(cursorAt(cursor, 1), cursor, nil) {
		t.Error("an actor without a log resumes elsewhere than at the head")
	}
	d, _, err := k.Ensure(t.Context(), k.to(k.posts, nil).Target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := k.store.Scan(t.Context(), d.ID, store.KindEvent, store.Range{}); err != nil || len(rows) > 0 {
		t.Errorf("the log has %d rows, %v", len(rows), err)
	}
}

// TestP34_ALogWithAHoleIsGivenUp switches the log off for a while.
func TestP34_ALogWithAHoleIsGivenUp(t *testing.T) {
	t.Parallel()
	kept, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	first := newBoards(t, kept)
	first.mustPublish(note("1"), note("2"))
	newBoards(t, first.store, actors.NoEventLog()).mustPublish(note("3"))
	k := newBoards(t, first.store)
	head := k.mustPublish()
	for after := range 3 {
		if k.replays(cursorAt(head, after), head, nil) {
			t.Errorf("resumed after event %d over a hole", after)
		}
	}
	head = k.mustPublish(note("4"))
	if !k.replays(cursorAt(head, 3), head, []string{"4"}) || k.replays(cursorAt(head, 2), head, nil) || k.replays(cursorAt(head, 0), head, nil) {
		t.Error("the log does not begin anew after the hole")
	}
	if rows := k.storedLog(); len(rows) != 1 {
		t.Errorf("the log is %v", rows)
	}
}
