// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package kill_test

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

const (
	callers = 32
	keys    = 4
)

// rounds is how often the server is killed: TROUPE_KILL_ROUNDS, or 20.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("TROUPE_KILL_ROUNDS")
	if text == "" {
		return 20
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
	program := build(t)
	data := t.TempDir()
	var acknowledged, unanswered [keys]atomic.Int64
	for round := range rounds(t) {
		s := start(t, program, data)
		for key := range keys {
			check(t, s, round, key, acknowledged[key].Load(), unanswered[key].Load())
		}
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for n := range callers {
			load.Go(func() {
				key := n % keys
				client := s.counter(key)
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
		case <-s.exited:
			t.Error("the server ended by itself")
		}
		s.kill()
		load.Wait()
		cancel()
	}
	s := start(t, program, data)
	total := int64(0)
	for key := range keys {
		check(t, s, rounds(t), key, acknowledged[key].Load(), unanswered[key].Load())
		total += acknowledged[key].Load()
	}
	s.kill()
	if total == 0 {
		t.Error("nothing was acknowledged in all the rounds: the load did not reach the server")
	}
	t.Logf("%d increments acknowledged in %d rounds", total, rounds(t))
}

// check compares a count with what callers know of it. What was unanswered and is
// in the count is acknowledged from here on.
func check(t *testing.T, s *process, round, key int, acknowledged, unanswered int64) {
	t.Helper()
	reply, err := s.counter(key).Get(t.Context(), new(counterv1.GetRequest))
	if err != nil {
		t.Fatalf("round %d: Get: %v", round, err)
	}
	if n := reply.GetCount(); n < acknowledged || n > acknowledged+unanswered {
		t.Fatalf("round %d, key %d: the count is %d; %d increments were acknowledged and %d not answered",
			round, key, n, acknowledged, unanswered)
	}
}

// build compiles the counter server.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "counter")
	cmd := exec.Command("go", "build", "-o", program, "github.com/troupe-dev/troupe/examples/counter")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// process is a running server.
type process struct {
	cmd    *exec.Cmd
	url    string
	client *http.Client
	exited chan struct{}
}

var listening = regexp.MustCompile(`url=(http://\S+)`)

// start runs the server on a free port and waits until it listens.
func start(t *testing.T, program, data string) *process {
	t.Helper()
	s := &process{
		cmd:    exec.Command(program, "-listen", "127.0.0.1:0", "-data-dir", data),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}},
		exited: make(chan struct{}),
	}
	logs, output, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = output, output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = output.Close()
	t.Cleanup(s.kill)
	go func() { _ = s.cmd.Wait(); close(s.exited) }()
	lines := bufio.NewReader(logs)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the server did not start: %v", err)
		}
		if match := listening.FindStringSubmatch(line); match != nil {
			s.url = match[1]
			break
		}
		t.Log(line)
	}
	go func() { _, _ = io.Copy(io.Discard, lines); _ = logs.Close() }()
	return s
}

func (s *process) kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.client.CloseIdleConnections()
}

// counter is the stock client with nothing of ours but one header.
func (s *process) counter(key int) counterv1connect.CounterClient {
	named := func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("actor-key", "count/"+strconv.Itoa(key))
			}
			return next(ctx, spec)
		}
	}
	return counterv1connect.NewCounterClient(connect.NewClient(connecthttp.NewTransport(s.client, s.url), named))
}
