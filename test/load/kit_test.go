// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// size is small, or full with TROUPE_LOAD=full.
func size(small, full int) int {
	if os.Getenv("TROUPE_LOAD") == "full" {
		return full
	}
	return small
}

// counter does in each Increment what the test says.
type counter struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]

	act func(ctx context.Context, c *counter, req *counterv1.IncrementRequest) error
}

func (c *counter) Increment(ctx context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	c.State().Count += req.GetAmount()
	if c.act != nil {
		if err := c.act(ctx, c, req); err != nil {
			return nil, err
		}
	}
	return &counterv1.IncrementResponse{Count: c.State().GetCount()}, nil
}

func (c *counter) Get(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	return &counterv1.GetResponse{Count: c.State().GetCount()}, nil
}

// bed is a host over a store on the disk.
type bed struct {
	*actors.Host

	methods map[string]*actors.Method
}

func openStore(t *testing.T, dir string) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(dir, embedded.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newRegistry(act func(context.Context, *counter, *counterv1.IncrementRequest) error, options ...actors.Option) *actors.Registry {
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return &counter{act: act} }, options...)
	return registry
}

func newBed(t *testing.T, s store.Store, act func(context.Context, *counter, *counterv1.IncrementRequest) error, options ...actors.Option) *bed {
	t.Helper()
	host, err := actors.NewHost(actors.Config{
		Registry: newRegistry(act, options...), Store: s, Logger: slog.New(slog.DiscardHandler),
		WakeRate: 100_000, // the machine is the limit that is looked for
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{Host: host, methods: make(map[string]*actors.Method)}
	for _, m := range host.Methods() {
		b.methods[m.Spec.Procedure] = m
	}
	return b
}

// stop ends the host, and then the store.
func (b *bed) stop(t *testing.T, s store.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// wire is the codec of a binary call.
type wire struct{}

func (wire) Name() string { return "proto" }

func (wire) Append(dst []byte, message proto.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(dst, message)
}

func (b *bed) to(procedure, key string, request proto.Message) *actors.Call {
	return &actors.Call{
		Target: actors.Target{Address: store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: key}},
		Method: b.methods[procedure], Request: request, Codec: wire{},
	}
}

func (b *bed) add(ctx context.Context, key string, amount int64) error {
	_, err := b.Call(ctx, b.to(counterv1connect.CounterIncrementProcedure, key, &counterv1.IncrementRequest{Amount: amount}))
	return err
}

// latencies are how long things took. It is safe for concurrent use.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration // guarded by mu
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

// at returns the value that a share of the latencies do not exceed.
func (l *latencies) at(share float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return 0
	}
	slices.Sort(l.all)
	return l.all[min(len(l.all)-1, int(share*float64(len(l.all))))]
}

func (l *latencies) String() string {
	l.mu.Lock()
	n := len(l.all)
	l.mu.Unlock()
	return fmt.Sprintf("p50 %v, p99 %v, max %v of %d", l.at(0.5).Round(time.Microsecond), l.at(0.99).Round(time.Microsecond), l.at(1).Round(time.Microsecond), n)
}

// interact calls actors that are awake, one call after the other from each of four
// callers, until stop is closed, and returns what the calls took.
func (b *bed) interact(t *testing.T, stop <-chan struct{}) *latencies {
	t.Helper()
	var l latencies
	var callers sync.WaitGroup
	for n := range 4 {
		callers.Go(func() {
			key := fmt.Sprint("interactive", n)
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				if err := b.add(t.Context(), key, 1); err != nil {
					t.Errorf("a call: %v", err)
					return
				}
				l.add(time.Since(began))
			}
		})
	}
	callers.Wait()
	return &l
}

// forAWhile is a channel that is closed after d.
func forAWhile(d time.Duration) <-chan struct{} {
	stop := make(chan struct{})
	time.AfterFunc(d, func() { close(stop) })
	return stop
}

// heap returns the bytes of the live heap, after a collection.
func heap() uint64 {
	runtime.GC()
	return lastHeap()
}

// lastHeap returns the bytes that were live at the last collection. It disturbs nobody.
func lastHeap() uint64 {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64()
}
