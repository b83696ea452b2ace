// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/bench/load"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// storeServer is the limit for what is durable: the store alone, driven by
// writers in its own process through a group commit like the runtime's, and the
// disk alone.
type storeServer struct {
	dir    string
	store  store.Store
	group  *groupCommit
	actors []*rawActor
	fresh  atomic.Int64
}

// rawActor is an actor without a runtime.
type rawActor struct {
	record store.Record // guarded by the group commit's mu
	batch  *rawBatch    // guarded by the group commit's mu
	write  *store.Write // guarded by the group commit's mu
}

func newStoreServer(args []string) (*storeServer, error) {
	flags := flag.NewFlagSet("store", flag.ContinueOnError)
	dir := flags.String("dir", "", "directory of the store")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	st, err := embedded.Open(filepath.Join(*dir, "raw"), embedded.Options{})
	if err != nil {
		return nil, err
	}
	return &storeServer{dir: *dir, store: st, group: newGroupCommit(st)}, nil
}

func (s *storeServer) addr() string { return "" }

func (s *storeServer) close() error {
	s.group.close()
	return s.store.Close()
}

// handle runs one measurement: "commit" updates c.Keys actors, "create" creates
// actors and "load" reads those, by c.N writers for c.For; "fsync" writes c.N
// bytes at a time.
func (s *storeServer) handle(c command) (report, error) {
	switch c.Do {
	case "commit":
		for len(s.actors) < c.Keys {
			a, err := s.create()
			if err != nil {
				return report{}, err
			}
			s.actors = append(s.actors, a)
		}
		return timed(c, func(n int64) error { return s.group.update(s.actors[n%int64(c.Keys)]) })
	case "create":
		return timed(c, func(int64) error {
			_, err := s.create()
			return err
		})
	case "load":
		created := s.fresh.Load()
		return timed(c, func(n int64) error {
			_, err := s.store.Load(context.Background(), rawAddress(n%created))
			return err
		})
	case "fsync":
		return s.fsync(c)
	default:
		return report{}, errCommand
	}
}

func (s *storeServer) create() (*rawActor, error) {
	addr := rawAddress(s.fresh.Add(1) - 1)
	a := &rawActor{record: store.Record{
		Address:   addr,
		ID:        store.NewID(store.ShardOf(addr, s.store.Info().Shards)),
		CreatedAt: time.Now(),
	}}
	return a, s.group.add(a, store.OpCreate)
}

func rawAddress(n int64) store.Address {
	return store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: fmt.Sprintf("raw/%07d", n)}
}

// fsync writes to a preallocated file and waits for the disk, one write at a
// time.
func (s *storeServer) fsync(c command) (report, error) {
	const size = 4 << 20
	f, err := os.Create(filepath.Join(s.dir, "fsync"))
	if err != nil {
		return report{}, err
	}
	defer func() { _ = f.Close() }()
	if err := preallocate(f, size); err != nil {
		return report{}, err
	}
	data := make([]byte, c.N)
	c.N = 1
	return timed(c, func(n int64) error {
		if _, err := f.WriteAt(data, n*int64(len(data))%(size-int64(len(data)))); err != nil {
			return err
		}
		return datasync(f)
	})
}

// timed repeats op by c.N goroutines until c.For is over.
func timed(c command, op func(n int64) error) (report, error) {
	var (
		next  atomic.Int64
		wait  sync.WaitGroup
		mu    sync.Mutex
		all   load.Histogram // guarded by mu
		errs  error          // guarded by mu
		began = time.Now()
		cpu   = cpuTime()
	)
	for range max(c.N, 1) {
		wait.Go(func() {
			var (
				latency load.Histogram
				err     error
			)
			for now := began; err == nil && now.Sub(began) < c.For; {
				err = op(next.Add(1) - 1)
				done := time.Now()
				latency.Record(done.Sub(now))
				now = done
			}
			mu.Lock()
			defer mu.Unlock()
			all.Merge(&latency)
			errs = errors.Join(errs, err)
		})
	}
	wait.Wait()
	return report{
		Ops:     int64(all.Count()),
		Elapsed: time.Since(began),
		CPU:     cpuTime() - cpu,
		P50:     all.Quantile(0.5),
		P99:     all.Quantile(0.99),
	}, errs
}
