// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// reader is a subscriber that takes everything.
type reader struct{}

func (reader) Send(*actors.Frame, bool) error { return nil }

// stalled is a subscriber that takes one frame and then nothing until it is let go.
type stalled struct {
	took chan<- struct{} // is told of the first frame
	let  <-chan struct{}
}

func (s *stalled) Send(*actors.Frame, bool) error {
	select {
	case s.took <- struct{}{}:
	default:
	}
	<-s.let
	return nil
}

// TestP36_StalledReaders publishes to an actor with many subscribers that do not read.
// Each holds at most its buffer and is cut in the end; calls are measured beside them,
// beside as many that read, and alone.
func TestP36_StalledReaders(t *testing.T) { //nolint:paralleltest // it measures
	readers, events := size(50, 1000), size(400, 2000)
	const bufferEvents, eventBytes = 256, 200 // what one holds in events, and roughly in bytes of each
	s := openStore(t, t.TempDir())
	b := newBed(t, s, func(_ context.Context, c *counter, _ *counterv1.IncrementRequest) error {
		c.Broadcast(&counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{CountChanged: &counterv1.CountChanged{Count: c.State().GetCount()}}})
		return nil
	})
	defer b.stop(t, s)
	publish := func() *latencies {
		var l latencies
		for range events {
			began := time.Now()
			if err := b.add(t.Context(), "room", 1); err != nil {
				t.Fatal(err)
			}
			l.add(time.Since(began))
		}
		return &l
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	subscribe := func(ctx context.Context, sinks func() actors.Sink) (streams *sync.WaitGroup) {
		streams = new(sync.WaitGroup)
		for n := range readers {
			sub, err := b.Subscribe(ctx, b.to(counterv1connect.CounterSubscribeProcedure, "room", new(counterv1.SubscribeRequest)))
			if err != nil {
				t.Fatal(fmt.Errorf("subscriber %d: %w", n, err))
			}
			sink := sinks()
			streams.Go(func() {
				defer sub.Close()
				_ = sub.Feed(ctx, sink) // ends cut, or with ctx
			})
		}
		return streams
	}
	alone := publish()
	reading, leave := context.WithCancel(ctx)
	streams := subscribe(reading, func() actors.Sink { return reader{} })
	read := publish()
	leave()
	streams.Wait()
	let, took := make(chan struct{}), make(chan struct{}, readers)
	streams = subscribe(ctx, func() actors.Sink { return &stalled{took: took, let: let} })
	for range readers {
		<-took
	}
	before := heap()
	beside := publish()
	grown := int64(heap()) - int64(before)
	if bound := int64(readers)*bufferEvents*eventBytes + 64<<20; grown > bound {
		t.Errorf("%d stalled readers hold %d MiB, more than %d", readers, grown>>20, bound>>20)
	}
	close(let)
	streams.Wait()
	t.Logf("P36: %d events to %d readers that read: %v; to as many that are stalled: %v: p99 %.2f times as long, bound 1.05; to none: %v; live heap +%d KiB",
		events, readers, read, beside, float64(beside.at(0.99))/float64(max(read.at(0.99), 1)), alone, grown>>10)
}
