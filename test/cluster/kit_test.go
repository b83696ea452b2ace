// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"github.com/troupe-dev/troupe/test/program"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// fleet is some processes over one database.
type fleet struct {
	t      *testing.T
	path   string
	url    string
	secret string
	nodes  []*program.Process
}

// newFleet starts n processes and waits until each takes calls and each shard has a
// holder.
func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{
		t: t, url: pgtest.Database(t), secret: "a secret that the nodes of these tests share",
		path: program.Build(t, "github.com/troupe-dev/troupe/test/cluster/node"),
	}
	began := time.Now()
	for range n {
		f.nodes = append(f.nodes, f.start())
	}
	for i := range f.nodes {
		f.awaitReady(i)
	}
	for key := range 30 { // some of every node's
		f.eventually(30*time.Second, "every actor has a node", func() bool {
			_, err := f.add(key%n, fmt.Sprintf("warm-%d", key), 1)
			return err == nil
		})
	}
	t.Logf("%d nodes took calls after %s", n, time.Since(began).Round(time.Millisecond))
	return f
}

func (f *fleet) start() *program.Process {
	process := f.launch()
	if err := process.Await(f.t); err != nil {
		f.t.Fatal(err)
	}
	return process
}

// launch starts a process, with further flags, which come after the others.
func (f *fleet) launch(flags ...string) *program.Process {
	return program.Launch(f.t, f.path, f.t.TempDir(), append([]string{
		"-database-url", f.url,
		"-cluster-listen", "127.0.0.1:0", "-cluster-secret", f.secret, "-lame-duck", "500ms",
	}, flags...)...)
}

func (f *fleet) awaitReady(i int) {
	f.t.Helper()
	f.eventually(30*time.Second, "the node is ready", func() bool { return ready(f.nodes[i].URL) })
}

func ready(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (f *fleet) eventually(within time.Duration, what string, is func() bool) time.Duration {
	f.t.Helper()
	began := time.Now()
	for !is() {
		if time.Since(began) > within {
			f.t.Fatalf("not within %s: %s", within, what)
		}
		wait(20 * time.Millisecond)
	}
	return time.Since(began)
}

// wait lets time pass for processes that have no other clock.
func wait(d time.Duration) { <-time.After(d) }

// counters returns a client of the node i that does not repeat calls by itself.
func (f *fleet) counters(i int, key string) counterv1connect.CounterClient {
	client := troupe.Dial(f.nodes[i].URL, troupe.WithHTTPClient(f.nodes[i].Client), troupe.WithoutRetries())
	return counterv1connect.NewCounterClient(client.GetOrCreate(key))
}

func (f *fleet) add(i int, key string, amount int64) (int64, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	reply, err := f.counters(i, key).Increment(ctx, &counterv1.IncrementRequest{Amount: amount})
	return reply.GetCount(), err
}

func (f *fleet) count(i int, key string) (int64, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	reply, err := f.counters(i, key).Get(ctx, &counterv1.GetRequest{})
	return reply.GetCount(), err
}

// stop freezes a process, as a machine that is suspended.
func (f *fleet) stop(i int)   { f.signal(i, syscall.SIGSTOP) }
func (f *fleet) resume(i int) { f.signal(i, syscall.SIGCONT) }

func (f *fleet) signal(i int, s syscall.Signal) {
	f.t.Helper()
	if err := f.nodes[i].Signal(s); err != nil {
		f.t.Fatal(err)
	}
}

// slowAmount is what an increment adds that takes two seconds.
const slowAmount = 1_000_000

var slowIncrement = &counterv1.IncrementRequest{Amount: slowAmount}
