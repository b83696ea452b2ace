// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package kill_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"github.com/troupe-dev/troupe/test/program"
)

const (
	callers = 32
	keys    = 4
)

// rounds is how often the server is killed: TROUPE_KILL_ROUNDS, or 10.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("TROUPE_KILL_ROUNDS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TROUPE_KILL_ROUNDS=%q is not a number of rounds", text)
	}
	return n
}

// TestP11_NothingAcknowledgedIsLostToKill9 kills a real server under full load, again
// and again on one data directory. After each kill every count is at least the sum
// of the acknowledged increments and at most that plus the unanswered ones.
func TestP11_NothingAcknowledgedIsLostToKill9(t *testing.T) {
	t.Parallel()
	server := program.Build(t, "github.com/troupe-dev/troupe/examples/counter")
	data := t.TempDir()
	var acknowledged, unanswered [keys]atomic.Int64
	for round := range rounds(t) {
		s := program.Start(t, server, data)
		for key := range keys {
			check(t, s, round, key, acknowledged[key].Load(), unanswered[key].Load())
		}
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for n := range callers {
			load.Go(func() {
				key := n % keys
				client := counter(s, key)
				for ctx.Err() == nil {
					if _, err := client.Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
						unanswered[key].Add(1)
						return
					}
					acknowledged[key].Add(1)
				}
			})
		}
		select { // the load is the test; how long it lasts decides nothing
		case <-time.After(time.Duration(100+rand.IntN(300)) * time.Millisecond):
		case <-s.Exited:
			t.Error("the server ended by itself")
		}
		s.Kill()
		load.Wait()
		cancel()
	}
	s := program.Start(t, server, data)
	total := int64(0)
	for key := range keys {
		check(t, s, rounds(t), key, acknowledged[key].Load(), unanswered[key].Load())
		total += acknowledged[key].Load()
	}
	s.Kill()
	if total == 0 {
		t.Error("nothing was acknowledged in all the rounds: the load did not reach the server")
	}
	t.Logf("%d increments acknowledged in %d rounds", total, rounds(t))
}

// check compares a count with what callers know of it. What was unanswered and is
// in the count is acknowledged from here on.
func check(t *testing.T, s *program.Process, round, key int, acknowledged, unanswered int64) {
	t.Helper()
	reply, err := counter(s, key).Get(t.Context(), new(counterv1.GetRequest))
	if err != nil {
		t.Fatalf("round %d: Get: %v", round, err)
	}
	if n := reply.GetCount(); n < acknowledged || n > acknowledged+unanswered {
		t.Fatalf("round %d, key %d: the count is %d; %d increments were acknowledged and %d not answered",
			round, key, n, acknowledged, unanswered)
	}
}

// counter is the stock client with nothing of ours but one header.
func counter(s *program.Process, key int) counterv1connect.CounterClient {
	return counterAt(s, "count/"+strconv.Itoa(key))
}

// counterAt is the stock client of one actor, with further headers: name, value, ….
func counterAt(s *program.Process, actor string, headers ...string) counterv1connect.CounterClient {
	named := func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("actor-key", actor)
				for n := 0; n < len(headers); n += 2 {
					info.RequestHeader().Set(headers[n], headers[n+1])
				}
			}
			return next(ctx, spec)
		}
	}
	return counterv1connect.NewCounterClient(connect.NewClient(connecthttp.NewTransport(s.Client, s.URL), named))
}
