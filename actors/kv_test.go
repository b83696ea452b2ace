// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/actors/store/storetest"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// turn runs f in a writing turn of an actor.
func (k *kit) turn(key string, f func(ctx context.Context, c *counter) error) error {
	k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error { return f(ctx, c) }
	_, err := k.add(k.tb.Context(), key, 1)
	return err
}

func (k *kit) mustTurn(key string, f func(ctx context.Context, c *counter) error) {
	k.tb.Helper()
	if err := k.turn(key, f); err != nil {
		k.tb.Fatal(err)
	}
}

// pairs is the actor's key-value store, as "key=value key=value".
func (k *kit) pairs(key string, r actors.Range) (text string) {
	k.tb.Helper()
	k.get = func(ctx context.Context, c *counter) error {
		pairs, err := c.KV().List(ctx, r)
		text = textOf(pairs)
		return err
	}
	if _, err := k.count(k.tb.Context(), key); err != nil {
		k.tb.Fatal(err)
	}
	return text
}

func textOf(pairs []actors.Pair) string {
	var text []string
	for _, p := range pairs {
		text = append(text, fmt.Sprintf("%s=%s", p.Key, p.Value))
	}
	return fmt.Sprint(text)
}

func put(ctx context.Context, c *counter, key, value string) error {
	return c.KV().Put([]byte(key), []byte(value))
}

// TestP8_KVIsPartOfTheTurn reads a turn's own writes in it, and finds them stored
// with it or gone with it.
func TestP8_KVIsPartOfTheTurn(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	k := newKit(t, s)
	k.mustTurn("a", func(ctx context.Context, c *counter) error {
		for _, key := range []string{"b", "a", "ab", "c"} {
			if err := put(ctx, c, key, "1"); err != nil {
				return err
			}
		}
		if err := c.KV().Delete([]byte("c"), []byte("never")); err != nil {
			return err
		}
		pairs, err := c.KV().List(ctx, actors.Range{})
		if got := textOf(pairs); got != "[a=1 ab=1 b=1]" {
			t.Errorf("the turn sees %s", got)
		}
		value, found, _ := c.KV().Get(ctx, []byte("ab"))
		if string(value) != "1" || !found {
			t.Errorf("the turn gets %q, %t", value, found)
		}
		if _, found, _ := c.KV().Get(ctx, []byte("c")); found {
			t.Error("the turn gets what it deleted")
		}
		return err
	})
	failed := errors.New("it fails")
	for _, fail := range []func() error{func() error { return failed }, func() error { panic(failed) }} {
		err := k.turn("a", func(ctx context.Context, c *counter) error {
			_ = c.KV().Delete([]byte("a"))
			_ = put(ctx, c, "ab", "2")
			_ = put(ctx, c, "d", "2")
			return fail()
		})
		wantFailure(t, err, failure{connect.CodeInternal, "internal", notExecuted})
	}
	if got := k.pairs("a", actors.Range{}); got != "[a=1 ab=1 b=1]" {
		t.Errorf("after failed turns there is %s", got)
	}
	if got := k.pairs("b", actors.Range{}); got != "[]" {
		t.Errorf("another actor sees %s", got)
	}
	k.stop()
	k = newKit(t, s.Reopen())
	for _, tc := range []struct {
		r    actors.Range
		want string
	}{
		{actors.Range{}, "[a=1 ab=1 b=1]"},
		{actors.Range{Prefix: []byte("a")}, "[a=1 ab=1]"},
		{actors.Range{Prefix: []byte("a"), Reverse: true}, "[ab=1 a=1]"},
		{actors.Range{From: []byte("ab")}, "[ab=1 b=1]"},
		{actors.Range{To: []byte("b")}, "[a=1 ab=1]"},
		{actors.Range{Prefix: []byte("a"), From: []byte("ab"), To: []byte("zz")}, "[ab=1]"},
		{actors.Range{Limit: 2}, "[a=1 ab=1]"},
		{actors.Range{Limit: 2, Reverse: true}, "[b=1 ab=1]"},
		{actors.Range{Prefix: []byte("x")}, "[]"},
	} {
		if got := k.pairs("a", tc.r); got != tc.want {
			t.Errorf("List(%+v) gives %s, want %s", tc.r, got, tc.want)
		}
	}
}

// TestP12_KVOfTurnsAheadOfTheDisk compares what turns read, while nothing becomes
// durable and after a commit that failed, with a plain map.
func TestP12_KVOfTurnsAheadOfTheDisk(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	k := newKit(t, faulty, actors.MaxUndurableTurns(64))
	model := make(map[string]string)
	for round := range 40 {
		hold := faulty.HoldWaits()
		if lost := round%4 == 3; lost {
			faulty.FailCommit(store.ErrConflict)
		}
		ahead := maps.Clone(model)
		answers := make(chan error, 8)
		turns := 1 + random.IntN(8)
		for n := range turns {
			checked := make(chan struct{})
			step := func(ctx context.Context, c *counter) error {
				defer close(checked)
				for range random.IntN(4) {
					key := string(rune('a' + random.IntN(6)))
					if random.IntN(3) == 0 {
						_ = c.KV().Delete([]byte(key))
						delete(ahead, key)
						continue
					}
					ahead[key] = fmt.Sprint(round, ".", n)
					_ = put(ctx, c, key, ahead[key])
				}
				r := actors.Range{Limit: random.IntN(4), Reverse: random.IntN(2) == 0}
				if random.IntN(2) == 0 {
					r.From, r.To = []byte("b"), []byte("e")
				}
				got, err := c.KV().List(ctx, r)
				if want := listOf(ahead, r); textOf(got) != want {
					t.Errorf("round %d, turn %d: List(%+v) gives %s, want %s", round, n, r, textOf(got), want)
				}
				return err
			}
			k.increment = func(ctx context.Context, c *counter, _ *counterv1.IncrementRequest) error { return step(ctx, c) }
			go func() {
				_, err := k.add(context.WithoutCancel(t.Context()), "a", 1)
				answers <- err
			}()
			await(t, "turn", checked)
		}
		hold.Release()
		// Whether the first commit took one turn or more, its loss undoes all.
		for range turns {
			<-answers
		}
		if round%4 != 3 {
			model = ahead
		}
		if got, want := k.pairs("a", actors.Range{}), listOf(model, actors.Range{}); got != want {
			t.Fatalf("after round %d there is %s, want %s", round, got, want)
		}
	}
}

func listOf(model map[string]string, r actors.Range) string {
	keys := slices.Sorted(maps.Keys(model))
	if r.Reverse {
		slices.Reverse(keys)
	}
	var pairs []actors.Pair
	for _, key := range keys {
		if key >= string(r.From) && (r.To == nil || key < string(r.To)) && (r.Limit == 0 || len(pairs) < r.Limit) {
			pairs = append(pairs, actors.Pair{Key: []byte(key), Value: []byte(model[key])})
		}
	}
	return textOf(pairs)
}

// TestKVLimits goes to each bound and past it.
func TestKVLimits(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	refused := func(err error, reason string) {
		t.Helper()
		if authored, ok := errors.AsType[*actors.Error](err); !ok || authored.Reason() != reason || authored.Code() != connect.CodeInvalidArgument {
			t.Errorf("the error is %v, want %s", err, reason)
		}
	}
	k.mustTurn("a", func(_ context.Context, c *counter) error {
		kv := c.KV()
		refused(kv.Put(nil, nil), "bad_kv_key")
		refused(kv.Put(make([]byte, 1025), nil), "bad_kv_key")
		refused(kv.Delete(make([]byte, 1025)), "bad_kv_key")
		refused(kv.Put([]byte("k"), make([]byte, 256<<10+1)), "kv_value_too_large")
		return kv.Put(make([]byte, 1024), make([]byte, 256<<10))
	})
	k.mustTurn("b", func(_ context.Context, c *counter) error {
		for n := range 999 {
			if err := c.KV().Put(fmt.Append(nil, n), nil); err != nil {
				return err
			}
		}
		last := []byte("the thousandth")
		if err := c.KV().PutBatch(actors.Pair{Key: last}, actors.Pair{Key: last, Value: last}); err != nil {
			return err // it is one key
		}
		refused(c.KV().Put([]byte("one more"), nil), "too_many_kv_keys")
		return c.KV().Put([]byte("1"), []byte("again"))
	})
	err := k.turn("c", func(_ context.Context, c *counter) error {
		for n := range 17 {
			if err := c.KV().Put(fmt.Append(nil, n), make([]byte, 256<<10)); err != nil {
				return err
			}
		}
		return nil
	})
	wantFailure(t, err, failure{connect.CodeResourceExhausted, "commit_too_large", notExecuted})
}

// TestP22_AReadOnlyActionCannotWriteKV fails one that tries.
func TestP22_AReadOnlyActionCannotWriteKV(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.mustTurn("a", func(ctx context.Context, c *counter) error { return put(ctx, c, "k", "1") })
	k.get = func(ctx context.Context, c *counter) error { return put(ctx, c, "k", "2") }
	_, err := k.count(t.Context(), "a")
	wantFailure(t, err, failure{connect.CodeInternal, "internal", notExecuted})
	if got := k.pairs("a", actors.Range{}); got != "[k=1]" {
		t.Errorf("there is %s", got)
	}
}

// TestKVCopiesWhatItTakesAndGives changes slices after and before it does.
func TestKVCopiesWhatItTakesAndGives(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.mustTurn("a", func(ctx context.Context, c *counter) error {
		key, value := []byte("k"), []byte("v")
		if err := c.KV().Put(key, value); err != nil {
			return err
		}
		key[0], value[0] = 'x', 'x'
		got, err := c.KV().GetBatch(ctx, []byte("k"), []byte("none"))
		if err != nil || !bytes.Equal(got[0], []byte("v")) || got[1] != nil {
			t.Errorf("GetBatch gives %q, %v", got, err)
		}
		got[0][0] = 'x'
		return nil
	})
	if got := k.pairs("a", actors.Range{}); got != "[k=v]" {
		t.Errorf("there is %s", got)
	}
}

// TestRowLimits sets each bound and goes past it; a bound that makes no sense stops
// the start.
func TestRowLimits(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, actors.RowLimits{
		KVKeyBytes: 4, KVValueBytes: 8, KVKeysPerTurn: 2, Schedules: 1, ScheduleBytes: 4, MessagesPerTurn: 1, PendingMessages: 2, CommitBytes: 1000,
	})
	reason := func(err error) string {
		authored, _ := errors.AsType[*actors.Error](err)
		if authored == nil {
			return fmt.Sprint(err)
		}
		return authored.Reason()
	}
	increment, small := counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 1}
	var got []string
	k.mustTurn("a", func(_ context.Context, c *counter) error {
		kv, schedules := c.KV(), c.Schedule()
		note := func(err error) { got = append(got, reason(err)) }
		note(kv.Put([]byte("12345"), nil))
		note(kv.Put([]byte("1"), make([]byte, 9)))
		note(kv.Put([]byte("1234"), make([]byte, 8)))
		note(kv.Delete([]byte("2")))
		note(kv.Delete([]byte("3")))
		_, err := schedules.After(time.Hour, increment, &counterv1.IncrementRequest{Amount: 1 << 40})
		note(err)
		_, err = schedules.After(time.Hour, increment, small)
		note(err)
		_, err = schedules.After(time.Hour, increment, small)
		note(err)
		return nil
	})
	want := []string{"bad_kv_key", "kv_value_too_large", "<nil>", "<nil>", "too_many_kv_keys", "schedule_too_large", "<nil>", "too_many_schedules"}
	if !slices.Equal(got, want) {
		t.Errorf("the answers are %q, want %q", got, want)
	}
	err := k.turn("b", func(_ context.Context, c *counter) error {
		for range 2 {
			_ = c.post("c", 1)
		}
		return nil
	})
	wantFailure(t, err, failure{connect.CodeResourceExhausted, "too_many_messages", notExecuted})
	k.increment = nil

	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) }, actors.RowLimits{KVKeyBytes: -1, CommitBytes: 1 << 30})
	_, err = actors.NewHost(actors.Config{Registry: registry, Store: memory.New(memory.Options{})})
	for _, field := range []string{"RowLimits.KVKeyBytes", "RowLimits.CommitBytes"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("the error is %v and does not name %s", err, field)
		}
	}
}
