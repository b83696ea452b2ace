// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// addOnce is add with an idempotency key.
func (k *kit) addOnce(key, idempotencyKey string, amount int64, edit ...func(*actors.Call)) (int64, error) {
	call := k.to(counterv1connect.CounterIncrementProcedure, key, &counterv1.IncrementRequest{Amount: amount})
	call.IdempotencyKey = idempotencyKey
	for _, f := range edit {
		f(call)
	}
	reply, err := k.Call(k.tb.Context(), call)
	return decode(k.tb, reply, err, new(counterv1.IncrementResponse)).GetCount(), err
}

func (k *kit) mustAddOnce(key, idempotencyKey string, amount, want int64, edit ...func(*actors.Call)) {
	k.tb.Helper()
	if got, err := k.addOnce(key, idempotencyKey, amount, edit...); got != want || err != nil {
		k.tb.Fatalf("the reply is %d, %v; want %d", got, err, want)
	}
}

// TestP17_ARepeatedRequestHasOneEffect repeats requests in every way that must give
// the first reply, and in every way that must not.
func TestP17_ARepeatedRequestHasOneEffect(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	k := newKit(t, s)
	k.mustAddOnce("a", "k1", 5, 5)
	k.mustAddOnce("a", "k1", 5, 5)
	k.mustAdd("a", 1)
	k.mustAddOnce("a", "k1", 5, 5)
	k.mustCount("a", 6)

	_, err := k.addOnce("a", "k1", 7)
	wantFailure(t, err, failure{connect.CodeInvalidArgument, "idempotency_key_reused", notExecuted})
	k.mustCount("a", 6)

	k.mustAddOnce("a", "k2", 5, 11)                                               // another key
	k.mustAddOnce("a", "k1", 5, 16, func(c *actors.Call) { c.Subject = "alice" }) // another principal
	k.mustAddOnce("b", "k1", 5, 5)                                                // another actor

	// A call that failed has left nothing to repeat.
	fail := errors.New("it fails")
	k.increment = func(context.Context, *counter, *counterv1.IncrementRequest) error { return fail }
	_, err = k.addOnce("a", "k3", 1)
	wantFailure(t, err, failure{connect.CodeInternal, "internal", notExecuted})
	k.increment = nil
	k.mustAddOnce("a", "k3", 1, 17)

	k.stop()
	k = newKit(t, s.Reopen())
	k.mustAddOnce("a", "k1", 5, 5)
	k.mustAddOnce("a", "k3", 1, 17)

	// The records die with the incarnation.
	if _, err := k.Destroy(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Target); err != nil {
		t.Fatal(err)
	}
	k.mustAddOnce("a", "k1", 5, 5)
	k.mustAddOnce("a", "k1", 5, 5)
	k.mustCount("a", 5)
}

// TestP17_ARepeatedCreationGivesTheFirstReply repeats a call that must create.
func TestP17_ARepeatedCreationGivesTheFirstReply(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	create := func(c *actors.Call) { c.Resolve = actors.Create }
	k.mustAddOnce("a", "k1", 5, 5, create)
	k.mustAddOnce("a", "k1", 5, 5, create)
	_, err := k.addOnce("a", "k2", 5, create)
	wantFailure(t, err, failure{connect.CodeAlreadyExists, "actor_exists", notExecuted})
	k.mustCount("a", 5)
}

// TestP17_TheReplyIsOfTheCallersCodec repeats a request in another encoding, and
// finds the response metadata again.
func TestP17_TheReplyIsOfTheCallersCodec(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.increment = func(ctx context.Context, _ *counter, _ *counterv1.IncrementRequest) error {
		if info, ok := connect.CallInfoForServerContext(ctx); ok {
			info.ResponseHeader().Set("X-Mark", "set")
		}
		return nil
	}
	for _, codec := range []actors.Codec{json{}, binary{}, json{}} {
		var reply actors.Reply
		inner, outer := connect.NewServer(), new(connect.CallInfo)
		inner.Register(connect.Method{Spec: connect.Spec{Procedure: "/edge"}, Handler: func(ctx context.Context, _ connect.Spec, _ connect.ServerStream) (err error) {
			call := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 5})
			call.IdempotencyKey, call.Codec, call.Info = "k", codec, outer
			reply, err = k.Call(ctx, call)
			return err
		}})
		err := inner.Call(t.Context(), "/edge", outer, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := new(counterv1.IncrementResponse)
		if codec.Name() == "json" {
			err = protojson.Unmarshal(reply.Body, got)
		} else {
			decode(t, reply, nil, got)
		}
		if err != nil || got.GetCount() != 5 {
			t.Errorf("%s: the reply is %q", codec.Name(), reply.Body)
		}
		if reply.Header == nil || reply.Header.Get("X-Mark") != "set" {
			t.Errorf("%s: the response metadata is lost", codec.Name())
		}
	}
}

// TestP17_ALargeReplyIsNotKept says so instead of running the action again.
func TestP17_ALargeReplyIsNotKept(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	call := func() error {
		c := k.to(counterv1connect.CounterIncrementProcedure, "a", &counterv1.IncrementRequest{Amount: 5})
		c.IdempotencyKey, c.Codec = "k", padded{size: 65 << 10}
		_, err := k.Call(t.Context(), c)
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, call(), failure{connect.CodeFailedPrecondition, "reply_not_kept", troupev1.Outcome_OUTCOME_COMMITTED})
	k.mustCount("a", 5)
}

// padded is a codec whose messages have a size.
type padded struct {
	binary
	size int
}

func (p padded) Append(dst []byte, _ proto.Message) ([]byte, error) {
	return append(dst, make([]byte, p.size)...), nil
}

// TestP17_RecordsEnd lets the time pass for which replies are kept.
func TestP17_RecordsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		k := newKit(t, s)
		k.mustAddOnce("a", "mine", 1, 1)
		k.mustAddOnce("a", "auto-1", 1, 2)
		pass(10*time.Minute - time.Second)
		k.mustAddOnce("a", "mine", 1, 1)
		k.mustAddOnce("a", "auto-1", 1, 2)
		pass(time.Second)
		k.mustAddOnce("a", "auto-1", 1, 3)
		k.mustAddOnce("a", "auto-2", 1, 4) // takes the first record of auto-1 for over
		k.mustAddOnce("a", "auto-1", 1, 3)
		pass(24*time.Hour - 10*time.Minute - time.Second)
		k.mustAddOnce("a", "mine", 1, 1)
		pass(time.Second)
		k.mustAddOnce("a", "mine", 1, 5)
		rows := func() int {
			record, err := s.Load(t.Context(), k.to(counterv1connect.CounterGetProcedure, "a", nil).Address)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := s.Scan(t.Context(), record.ID, store.KindIdempotency, store.Range{})
			if err != nil {
				t.Fatal(err)
			}
			return len(rows)
		}
		pass(24*time.Hour - time.Second)
		if got := rows(); got != 1 {
			t.Errorf("%d rows are kept for the one record that counts", got)
		}
		pass(7 * time.Minute) // they stay for who has waited since before they were over
		if got := rows(); got != 0 {
			t.Errorf("%d rows are left of records that are over", got)
		}
	})
}

// stuckShards is a store that cannot remove what is over in its first shards.
type stuckShards struct{ store.Store }

func (s stuckShards) Expire(ctx context.Context, shard uint16, kind store.Kind, now time.Time, limit int) (int, error) {
	if shard < 2 {
		return 0, errors.New("a damaged page")
	}
	return s.Store.Expire(ctx, shard, kind, now, limit)
}

// TestP17_RecordsEndBesideShardsThatFail holds that a shard whose records cannot be
// removed keeps those of no other one.
func TestP17_RecordsEndBesideShardsThatFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{Shards: 4})
		k := newKit(t, stuckShards{s})
		for n := range 16 {
			k.mustAddOnce(fmt.Sprint(n), "auto-1", 1, 1)
		}
		pass(time.Hour)
		for n := range 16 {
			record, err := s.Load(t.Context(), k.to(counterv1connect.CounterGetProcedure, fmt.Sprint(n), nil).Address)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := s.Scan(t.Context(), record.ID, store.KindIdempotency, store.Range{})
			if want := record.ID.Shard() < 2; err != nil || (len(rows) > 0) != want {
				t.Errorf("shard %d: %d rows are left, %v", record.ID.Shard(), len(rows), err)
			}
		}
	})
}

// TestP17_ARepeatThatWaits has a repeated request wait for its turn until the record
// is over, and until records that are over are removed.
func TestP17_ARepeatThatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil, actors.IdempotencyRetention(70*time.Second), actors.ActionTimeout(300*time.Second))
		release := make(chan struct{})
		k.increment = func(_ context.Context, _ *counter, req *counterv1.IncrementRequest) error {
			if req.GetAmount() == 10 {
				<-release
			}
			return nil
		}
		k.mustAddOnce("a", "mine", 1, 1)
		pass(65 * time.Second)
		answers := make(chan error, 1)
		go func() { _, err := k.add(t.Context(), "a", 10); answers <- err }()
		synctest.Wait()
		repeated := make(chan int64, 1)
		go func() {
			got, err := k.addOnce("a", "mine", 1)
			if err != nil {
				t.Error(err)
			}
			repeated <- got
		}()
		pass(2 * time.Minute)
		close(release)
		if err := <-answers; err != nil {
			t.Error(err)
		}
		if got := <-repeated; got != 1 {
			t.Errorf("the repeated request got %d: it ran again", got)
		}
	})
}

// TestP17_TheOldestRecordIsDropped keeps a bounded number.
func TestP17_TheOldestRecordIsDropped(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, actors.IdempotencyRecords(4))
	for n := range int64(6) {
		k.mustAddOnce("a", fmt.Sprint("k", n), 1, n+1)
	}
	for n := int64(2); n < 6; n++ {
		k.mustAddOnce("a", fmt.Sprint("k", n), 1, n+1)
	}
	k.mustAddOnce("a", "k0", 1, 7)
}

// TestP17_AStormOfRetries repeats requests from many callers at once while commits
// fail, are lost and hang: each key has one effect in the end.
func TestP17_AStormOfRetries(t *testing.T) {
	t.Parallel()
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	k := newKit(t, faulty, actors.MailboxSize(1000))
	const keys = 50
	for n := range 40 {
		switch n % 5 {
		case 1:
			faulty.FailCommit(store.ErrConflict)
		case 3:
			faulty.FailCommitAfter(store.ErrUnknown)
		default:
			faulty.FailCommit(nil)
		}
	}
	var callers sync.WaitGroup
	replies := make([]map[int64]bool, keys)
	var mu sync.Mutex
	for n := range keys {
		replies[n] = make(map[int64]bool)
		for range 3 {
			callers.Go(func() {
				for {
					count, err := k.addOnce("a", fmt.Sprint("k", n), 1)
					if err == nil {
						mu.Lock()
						replies[n][count] = true
						mu.Unlock()
						return
					}
					if code := connect.CodeOf(err); code != connect.CodeAborted && code != connect.CodeUnavailable {
						t.Errorf("the error is %v", err)
						return
					}
				}
			})
		}
	}
	callers.Wait()
	for n, seen := range replies {
		if len(seen) != 1 {
			t.Errorf("the key %d got the replies %v", n, seen)
		}
	}
	k.mustCount("a", keys)
}

func TestP17_RecordsThatAreOverMakeRoomFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nil, actors.IdempotencyRecords(4), actors.SleepAfter(time.Hour))
		k.mustAddOnce("a", "k", 5, 5)
		want := int64(5)
		for _, key := range []string{"auto-1", "auto-2", "auto-3", "auto-4", "auto-5"} {
			want++
			k.mustAddOnce("a", key, 1, want)
			pass(6 * time.Minute)
		}
		k.mustAddOnce("a", "k", 5, 5)
	})
}
