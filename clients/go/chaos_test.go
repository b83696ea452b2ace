// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	troupe "github.com/troupe-dev/troupe/clients/go"
	stagev1 "github.com/troupe-dev/troupe/gen/go/stage/v1"
	"github.com/troupe-dev/troupe/gen/go/stage/v1/stagev1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// TestChaos breaks the network at random, TROUPE_CHAOS_CUTS times or 40: no client loses,
// repeats or reorders a durable event, each call counts once, and in the end all are
// connected. TROUPE_CHAOS_SEED repeats a run's acts. It is what chaos.test.mjs in
// test/e2e is for the TypeScript client.
func TestChaos(t *testing.T) {
	t.Parallel()
	cuts, seed := numberOf(t, "TROUPE_CHAOS_CUTS", 40), numberOf(t, "TROUPE_CHAOS_SEED", rand.Int())
	t.Logf("TROUPE_CHAOS_SEED=%d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	run, err := newRun(t, startControl(t), map[string]any{"heartbeatMs": 300})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.remove(t) })
	publisher := stagev1connect.NewStageClient(troupe.Dial(run.direct).GetOrCreate("chaos"))
	if _, err := publisher.Look(t.Context(), new(stagev1.LookRequest)); err != nil {
		t.Fatal(err)
	}
	var all followers
	for _, protocol := range []string{"connect", "grpc", "grpc-web"} {
		for _, codec := range []string{"binary", "json"} {
			all = append(all, newFollower(t, protocol+" "+codec, troupe.Dial(run.url, transportOptions(protocol, codec)...)))
		}
	}
	all.await(t, "all are connected", (*follower).disconnected)
	calling, stopCalls := context.WithCancel(t.Context())
	defer stopCalls()
	var callers sync.WaitGroup
	for _, f := range all {
		callers.Go(func() { f.call(t.Context(), calling.Done()) })
	}

	network := &chaos{run, random}
	published := int32(0)
	for range cuts {
		batch := &stagev1.Batch{Event: "noted", From: published + 1, Count: random.Int32N(5) + 1}
		if _, err := publisher.Publish(t.Context(), &stagev1.PublishRequest{Batches: []*stagev1.Batch{batch}}); err != nil {
			t.Fatal(err)
		}
		published += batch.GetCount()
		if random.IntN(4) > 0 { // the other ones meet some that are on their way
			all.await(t, "all are connected again", (*follower).disconnected)
		}
		if err := network.breaks(t.Context()); err != nil {
			t.Fatal(err)
		}
		network.pause(60)
		// The log keeps 100 events: nobody may fall back further.
		all.await(t, "all come up again", func(f *follower) string { return f.behind(published - 60) })
	}
	stopCalls()
	callers.Wait()
	all.await(t, "each has all events and is connected", func(f *follower) string {
		return f.behind(published) + f.disconnected()
	})
	added, doubtful := int32(0), int32(0)
	for _, f := range all {
		added, doubtful = added+f.added.Load(), doubtful+f.doubtful.Load()
		t.Logf("%s opened %d streams", f.name, f.opens.Load())
	}
	look, err := publisher.Look(t.Context(), new(stagev1.LookRequest))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cuts, %d events, %d calls, %d in doubt", cuts, published, added, doubtful)
	if total := look.GetTotal(); total < added || total > added+doubtful {
		t.Errorf("%d calls succeeded, %d may have, %d did", added, doubtful, total)
	}
}

// numberOf reads a number from the environment.
func numberOf(t *testing.T, name string, unset int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return unset
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}

// chaos is a network that breaks.
type chaos struct {
	run    *stageRun
	random *rand.Rand
}

// breaks does one of the acts.
func (c *chaos) breaks(ctx context.Context) error {
	acts := [][]string{{"cut"}, {"half"}, {"lose"}, {"stall", "cut", "up"}, {"down", "up"}, {"delay?ms=5", "cut", "up"}}
	for i, act := range acts[c.random.IntN(len(acts))] {
		if i == 1 {
			c.pause(40)
		}
		if err := c.run.act(ctx, act); err != nil {
			return err
		}
	}
	return nil
}

// pause gives what runs beside it a little time: how much decides nothing.
func (c *chaos) pause(most int) {
	<-time.After(time.Duration(c.random.IntN(most)) * time.Millisecond)
}

// follower is a client that follows the stage and calls it, over its connection.
type follower struct {
	name                         string
	conn                         *troupe.Connection[stagev1connect.StageClient, *stagev1.StageEvent]
	last, opens, added, doubtful atomic.Int32
	ended                        sync.WaitGroup
	wrong                        []string // what should not have been; read after ended
}

func newFollower(t *testing.T, name string, client *troupe.Client) *follower {
	t.Helper()
	f := &follower{name: name}
	f.conn = troupe.Connect(context.WithoutCancel(t.Context()), client.GetOrCreate("chaos"), stagev1connect.NewStageClient, stagev1connect.StageClient.Watch,
		&stagev1.WatchRequest{User: name}, troupe.WithBackoff(20*time.Millisecond, 200*time.Millisecond),
		troupe.OnStatus(func(status troupe.Status) {
			if status.State == troupe.Open {
				f.opens.Add(1)
			}
		}))
	f.ended.Go(f.follow)
	t.Cleanup(func() {
		_ = f.conn.Close() // it returns nil
		f.ended.Wait()
		client.Close()
		for _, wrong := range f.wrong {
			t.Errorf("%s: %s", name, wrong)
		}
	})
	return f
}

// follow checks the order of the events.
func (f *follower) follow() {
	for event, err := range f.conn.Events() {
		switch noted := event.GetNoted(); {
		case err != nil:
			if !strings.Contains(err.Error(), "the connection was closed") { // by the test
				f.wrong = append(f.wrong, err.Error())
			}
		case noted != nil:
			if last := f.last.Load(); noted.GetN() != last+1 {
				f.wrong = append(f.wrong, fmt.Sprintf("%d came after %d", noted.GetN(), last))
			}
			f.last.Store(noted.GetN())
		}
	}
}

// call adds to the stage's total until done, and counts what became of that.
func (f *follower) call(ctx context.Context, done <-chan struct{}) {
	for {
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := f.conn.Actor().Add(limited, &stagev1.AddRequest{Amount: 1})
		cancel()
		switch {
		case err == nil:
			f.added.Add(1)
		case troupe.OutcomeOf(err) != troupev1.Outcome_OUTCOME_NOT_EXECUTED:
			f.doubtful.Add(1)
		}
		select {
		case <-done:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// disconnected says that the follower is not connected; else it is empty.
func (f *follower) disconnected() string {
	if status := f.conn.Status(); status.State != troupe.Open {
		return fmt.Sprintf("%s is %s (%v)", f.name, status.State, status.Err)
	}
	return ""
}

// behind says that the follower has not got as far as n; else it is empty.
func (f *follower) behind(n int32) string {
	if last := f.last.Load(); last < n {
		return fmt.Sprintf("%s is at %d, not %d", f.name, last, n)
	}
	return ""
}

type followers []*follower

// await waits until missing is empty for each.
func (all followers) await(t *testing.T, what string, missing func(*follower) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := until(ctx, func() error {
		for _, f := range all {
			if text := missing(f); text != "" {
				return errors.New(text)
			}
		}
		return nil
	}); err != nil {
		t.Fatalf("not within a minute: %s: %v", what, err)
	}
}
