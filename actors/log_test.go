// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	bigendian "encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	boardv1 "github.com/troupe-dev/troupe/gen/go/board/v1"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// TestP33_TheLogIsWholeWhateverFails has turns fail in every way, and followers who
// resume after every cut. What they see and what is stored is what was acknowledged,
// or may have been, with numbers that follow each other.
func TestP33_TheLogIsWholeWhateverFails(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "ok", "burst", "error", "panic", "fail", "unknown", "lost", "sleep", "cut"}), 1, 40).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			faulty := storetest.NewFaulty(memory.New(memory.Options{}))
			k := newBoards(t, faulty, actors.SleepAfter(time.Second), actors.RetainEvents(actors.EventWindow{Count: 1000}))
			start := k.mustPublish()
			seen := newFollower(k, start)
			acknowledged, uncertain := map[string]bool{}, map[string]bool{}
			for n, step := range steps {
				text := fmt.Sprint(step, n)
				k.post = nil
				switch step {
				case "sleep":
					pass(5 * time.Second)
					continue
				case "cut":
					seen.cut()
					continue
				case "error":
					k.post = func(context.Context, *board) error { return errors.New("an error that the test asked for") }
				case "panic":
					k.post = func(context.Context, *board) error { panic("a panic that the test asked for") }
				case "fail":
					faulty.FailCommit(errors.New("a commit that failed"))
				case "unknown":
					faulty.FailCommit(store.ErrUnknown)
				case "lost":
					faulty.FailCommitAfter(store.ErrUnknown)
				}
				events := []*boardv1.BoardEvent{note(text), ping(int32(n))}
				for m := range 5 {
					if step == "burst" {
						events = append(events, note(fmt.Sprint(text, ".", m)))
					}
				}
				switch _, err := k.publish(events...); {
				case err == nil:
					acknowledged[text] = true
				case failureOf(t, err).outcome == unknown:
					uncertain[text] = true
				}
			}
			k.post = nil
			k.mustPublish(note("end"))
			got := seen.until("end")
			for _, text := range got {
				if first, _, _ := strings.Cut(text, "."); !acknowledged[first] && !uncertain[first] && text != "end" {
					t.Errorf("%s was not acknowledged and was sent", text)
				}
			}
			for text := range acknowledged {
				if !slices.Contains(got, text) {
					t.Errorf("%s was acknowledged and not sent", text)
				}
			}
			if stored := k.storedLog(); !slices.Equal(stored, got) {
				t.Errorf("the log is %v and the follower saw %v", stored, got)
			}
		})
	})
}

// storedLog returns the notes of the log and checks that its numbers have no hole.
func (k *boardKit) storedLog() (texts []string) {
	k.tb.Helper()
	d, _, err := k.Ensure(k.tb.Context(), k.to(k.posts, nil).Target, nil)
	if err != nil {
		k.tb.Fatal(err)
	}
	rows, err := k.store.Scan(k.tb.Context(), d.ID, store.KindEvent, store.Range{})
	if err != nil {
		k.tb.Fatal(err)
	}
	for n, row := range rows {
		if got, want := bigendian.BigEndian.Uint64(row.Key), d.EventHead-uint64(len(rows)-1-n); got != want {
			k.tb.Errorf("row %d has the number %d, want %d", n, got, want)
		}
		event := new(boardv1.BoardEvent)
		if err := proto.Unmarshal(row.Value[:len(row.Value)-22], event); err != nil { // less the trailer
			k.tb.Fatal(err)
		}
		texts = append(texts, brief(event))
	}
	return texts
}

// follower is a subscriber who resumes where its last stream ended.
type follower struct {
	kit    *boardKit
	cursor string
	number uint64
	w      *watcher
	seen   []string
}

func newFollower(k *boardKit, cursor string) *follower {
	f := &follower{kit: k, cursor: cursor}
	f.w = k.follow(func(c *actors.Call, _ *watcher) { c.Resume = cursor })
	return f
}

// cut takes what has come and opens another stream.
func (f *follower) cut() {
	f.w.cancel()
	<-f.w.ended
	f.take()
	*f = follower{f.kit, f.cursor, f.number, newFollower(f.kit, f.cursor).w, f.seen}
}

func (f *follower) take() {
	for {
		select {
		case event := <-f.w.frames:
			f.note(event)
		default:
			return
		}
	}
}

func (f *follower) note(event *boardv1.BoardEvent) {
	info := event.GetInfo()
	f.cursor = info.GetCursor()
	if event.GetNote() == nil {
		return
	}
	if info.GetHead() != f.number+1 {
		f.kit.tb.Errorf("event %d came after event %d", info.GetHead(), f.number)
	}
	f.number = info.GetHead()
	f.seen = append(f.seen, brief(event))
}

// until follows through every cut until an event has come, and returns all that did.
func (f *follower) until(last string) []string {
	for cuts := 0; len(f.seen) == 0 || f.seen[len(f.seen)-1] != last; {
		select {
		case event := <-f.w.frames:
			f.note(event)
		case err := <-f.w.ended:
			if err != nil && connect.CodeOf(err) == connect.CodeOutOfRange {
				f.kit.tb.Fatalf("resume after %s: %v", f.cursor, err)
			}
			if cuts++; cuts > 100 {
				f.kit.tb.Fatalf("stream after stream ends: %v", err)
			}
			f.take()
			f.w = newFollower(f.kit, f.cursor).w
		}
	}
	return f.seen
}

// TestP35_SnapshotThenTail reads the count while others add to it, follows from the
// cursor of what was read, and misses nothing and gets nothing twice.
func TestP35_SnapshotThenTail(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return memory.New(memory.Options{}) },
		"embedded": func(t *testing.T) store.Store {
			s, err := embedded.Open(t.TempDir(), embedded.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t, open(t), actors.RetainEvents(actors.EventWindow{Count: 100000, Bytes: 1 << 30}), actors.SubscriberBuffer(100000, 1<<30))
			const writers, each = 4, 100
			var writing sync.WaitGroup
			for range writers {
				writing.Go(func() {
					for range each {
						if _, err := k.add(t.Context(), "a", 1); err != nil {
							t.Error(err)
						}
					}
				})
			}
			var reading sync.WaitGroup
			for range 4 {
				reading.Go(func() {
					for range 10 {
						k.tail(t, writers*each)
					}
				})
			}
			writing.Wait()
			reading.Wait()
			k.mustCount("a", writers*each)
		})
	}
}

// tail reads a count, by a read or with an addition of nothing, and follows it to its
// end.
func (k *kit) tail(t *testing.T, end int64) {
	call, response := k.to(counterv1connect.CounterGetProcedure, "a", new(counterv1.GetRequest)), new(counterv1.GetResponse)
	reply, err := k.Call(t.Context(), call)
	count := decode(t, reply, err, response).GetCount()
	if err != nil {
		t.Error(err)
		return
	}
	if !strings.HasSuffix(reply.Cursor, "-"+base36(int(count))) {
		t.Errorf("the count is %d at %s", count, reply.Cursor)
	}
	for count < end {
		cut := count + rand.Int64N(50) + 1 // where this stream is left
		sub := k.resume("a", reply.Cursor)
		for count < min(cut, end) {
			select {
			case event := <-sub.frames:
				if event.GetCountChanged() == nil {
					continue
				}
				if got := event.GetCountChanged().GetCount(); got != count+1 {
					t.Errorf("count %d came after %d", got, count)
					return
				}
				count++
				reply.Cursor = event.GetInfo().GetCursor()
			case err := <-sub.ended:
				t.Errorf("the stream ended: %v", err)
				return
			}
		}
		sub.cancel()
	}
}

// TestP33_HooksPublishIntoTheLog has the hooks of creation and waking publish, with
// nobody there.
func TestP33_HooksPublishIntoTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil, actors.SleepAfter(time.Second),
			actors.OnCreate(func(c *counter, _ context.Context, _ *counterv1.CounterInput) error {
				c.Broadcast(changed(1))
				return nil
			}),
			actors.OnWake(func(c *counter, _ context.Context) error {
				c.Broadcast(changed(2 + 2*c.State().GetCount()))
				return nil
			}))
		k.increment = func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error {
			c.State().Count = 3 // to be numbered as it counts
			return nil
		}
		k.mustAdd("a", 1)
		pass(10 * time.Second)
		cursor := k.cursor("a")
		for n, want := range []int64{1, 2, 3, 8} {
			sub := k.resume("a", cursorAt(cursor, n))
			if got := await(t, "event", sub.frames); got.GetCountChanged().GetCount() != want || got.GetInfo().GetHead() != uint64(n+1) {
				t.Errorf("event %d is %v, want %d", n+1, got, want)
			}
			sub.cancel()
			<-sub.ended
		}
	})
}

// TestP38_AResumedSubscriptionSurvivesSleep resumes at an actor that is asleep, and
// is there when it has slept again.
func TestP38_AResumedSubscriptionSurvivesSleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newBoards(t, nil, actors.SleepAfter(time.Second))
		asleep := func() {
			pass(10 * time.Second)
			d, _, err := k.Ensure(t.Context(), k.to(k.posts, nil).Target, nil)
			if err != nil || d.Awake {
				t.Fatalf("described as %+v, %v", d, err)
			}
		}
		start := k.mustPublish(note("1"))
		k.mustPublish(note("2"))
		asleep()
		w := k.resume(start)
		w.want(t, "2")
		asleep()
		k.mustPublish(note("3"))
		w.want(t, "3")
		asleep()
		again := k.resume(start)
		again.want(t, "2", "3")
		w.wantNoMore(k)
	})
}

// TestP34_ARestoredStoreRefusesOldCursors has a store with another generation.
func TestP34_ARestoredStoreRefusesOldCursors(t *testing.T) {
	t.Parallel()
	inner := memory.New(memory.Options{})
	k := newBoards(t, inner)
	old := k.mustPublish(note("1"))
	head := k.mustPublish(note("2"))
	restored := newBoards(t, generation{inner})
	now := restored.mustPublish()
	if restored.replays(old, now, nil) || restored.replays(head, now, nil) {
		t.Error("a cursor of before is accepted")
	}
	if !restored.replays(cursorAt(now, 1), now, []string{"2"}) {
		t.Error("its own cursors are not")
	}
}

type generation struct{ store.Store }

func (s generation) Info() store.Info {
	info := s.Store.Info()
	info.Generation++
	return info
}

// TestP36_AReplayThatIsOverrunIsCut has a subscriber replay so slowly that what it
// needs next leaves the log.
func TestP36_AReplayThatIsOverrunIsCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newBoards(t, nil, actors.RetainEvents(actors.EventWindow{Count: 200, Bytes: 1 << 20}))
		start := k.mustPublish()
		for n := range 200 {
			k.mustPublish(note(fmt.Sprint(n)))
		}
		gate := make(chan struct{}, 1000)
		w := k.follow(func(c *actors.Call, w *watcher) { c.Resume, w.gate = start, gate })
		for range 11 {
			gate <- struct{}{}
		}
		await(t, "opened frame", w.opened)
		for n := 200; n < 600; n++ {
			k.mustPublish(note(fmt.Sprint(n)))
		}
		for range cap(gate) - 11 {
			gate <- struct{}{}
		}
		info := await(t, "closing frame", w.closed)
		wantFailure(t, <-w.ended, failure{connect.CodeResourceExhausted, "slow_subscriber", notExecuted})
		var last *boardv1.BoardEvent
		for n := 0; len(w.frames) > 0; n++ {
			if last = <-w.frames; brief(last) != fmt.Sprint(n) {
				t.Fatalf("event %d is %v", n, last)
			}
		}
		if last.GetInfo().GetCursor() != info.GetCursor() {
			t.Errorf("the stream closed at %s after %v", info.GetCursor(), last)
		}
		wantFailure(t, <-k.filtered("", info.GetCursor()).ended, outOfRange)
	})
}

// TestP45_ADestroyEndsAReplayWithItsReason destroys the actor under a subscriber that
// reads its log.
func TestP45_ADestroyEndsAReplayWithItsReason(t *testing.T) {
	t.Parallel()
	k := newBoards(t, nil, actors.RetainEvents(actors.EventWindow{Count: 1000, Bytes: 1 << 20}))
	start := k.mustPublish()
	for n := range 200 {
		k.mustPublish(note(fmt.Sprint(n)))
	}
	gate := make(chan struct{}, 1000)
	w := k.follow(func(c *actors.Call, w *watcher) { c.Resume, w.gate = start, gate })
	gate <- struct{}{}
	await(t, "opened frame", w.opened)
	if _, err := k.Destroy(t.Context(), k.to(k.posts, nil).Target); err != nil {
		t.Fatal(err)
	}
	for range cap(gate) - 1 {
		gate <- struct{}{}
	}
	if why := await(t, "closing frame", w.closed).GetClosing(); why.GetReason().String() != "CLOSE_REASON_DESTROYED" {
		t.Errorf("the stream closed with %v", why)
	}
}
