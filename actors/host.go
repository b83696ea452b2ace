// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/proto"
)

// Host runs actors. Its methods may be called concurrently.
type Host struct {
	store      store.Store
	shards     uint16
	generation uint64 // of the store
	validate   func(proto.Message) error
	log        *slog.Logger
	heartbeat  time.Duration
	checks     bool     // Config.CheckReads
	holding    *holding // nil runs everything
	forward    Forwarder
	streamAge  time.Duration
	replyBytes int // what a reply may have
	types      map[string]*actorType
	methods    []*Method
	named      map[string]*Method // methods by procedure

	table     *table
	workers   *workers
	committer *committer
	waits     waits // direct calls that wait

	callDepth int
	wakes     gate
	pressure  *pressure

	process     uint64 // tells this host from others of the store, before and after it
	startedAt   time.Time
	dispatchers map[store.Kind]*dispatcher // of rows that fall due
	pace        *pace                      // of the runs of schedules
	crashes     *crashes
	parked      atomic.Int64  // actors whose rows wait until they can be used again
	lifts       atomic.Uint64 // how often somebody did something about an actor

	tokens   sync.Pool // the channels of answered turns
	inFlight atomic.Int64
	closing  atomic.Bool
	abrupt   atomic.Bool   // closing, and hooks do not run any more
	drained  chan struct{} // closed once closing and nothing is in flight
	drainOne sync.Once
	quit     chan struct{} // closed once closing
	stop     chan struct{}
	running  sync.WaitGroup
	stopOne  sync.Once
	stopped  chan struct{} // closed once nothing of the host runs

	subscribers sync.WaitGroup // open streams, and turns whose callers have left
	works       works          // what runs beside the actors
	silent      atomic.Bool    // nothing enters a turn any more
	stuck       stuck
	full        seldom // when the log may say so again
	lastTries   lastTries
}

// NewHost checks cfg and the registered types and returns a host that runs, until
// [Host.Shutdown].
func NewHost(cfg Config) (*Host, error) {
	switch {
	case cfg.Registry == nil:
		return nil, errors.New("actors: Config.Registry is nil: pass the registry that the actor types were registered with")
	case cfg.ConcurrentWakes < 0 || cfg.MemoryLimit < 0 || cfg.MaxCallDepth < 0 || cfg.MaxReplyBytes < 0:
		return nil, errors.New("actors: Config.ConcurrentWakes, MemoryLimit, MaxCallDepth and MaxReplyBytes must not be negative")
	case cfg.Store == nil:
		return nil, errors.New("actors: Config.Store is nil: open one, such as store/embedded or store/memory")
	case cfg.ScheduledTurns < 0 || cfg.WakeRate < 0:
		return nil, errors.New("actors: Config.ScheduledTurns and Config.WakeRate must not be negative")
	}
	if cfg.Forward != nil && cfg.Placement == nil {
		return nil, errors.New("actors: Config.Forward needs a Config.Placement, which says whom to forward to")
	}
	if err := errors.Join(cfg.Registry.errs...); err != nil {
		return nil, fmt.Errorf("actors: %w", err)
	}
	if len(cfg.Registry.types) == 0 {
		return nil, errors.New("actors: the registry is empty: register at least one actor type")
	}
	h := &Host{
		store:      cfg.Store,
		shards:     cfg.Store.Info().Shards,
		generation: cfg.Store.Info().Generation,
		validate:   cfg.Validate,
		log:        cfg.Logger,
		heartbeat:  cfg.Heartbeat,
		checks:     cfg.CheckReads,
		holding:    newHolding(cfg),
		forward:    cfg.Forward,
		streamAge:  cfg.MaxStreamAge,
		replyBytes: cmp.Or(cfg.MaxReplyBytes, 4<<20),
		types:      make(map[string]*actorType, len(cfg.Registry.types)),
		named:      make(map[string]*Method),
		table:      newTable(),
		pace:       newPace(),
		crashes:    newCrashes(),
		callDepth:  cmp.Or(cfg.MaxCallDepth, defaultCallDepth),
		wakes:      make(gate, cmp.Or(cfg.ConcurrentWakes, 256)),
		pressure:   newPressure(cfg),
		drained:    make(chan struct{}),
		quit:       make(chan struct{}),
		lastTries:  newLastTries(),
		stop:       make(chan struct{}),
		stopped:    make(chan struct{}),
		tokens:     sync.Pool{New: func() any { return make(chan struct{}, 1) }},
	}
	h.committer = newCommitter(cfg.Store, h.pace)
	if h.log == nil {
		h.log = slog.Default()
	}
	if h.heartbeat == 0 {
		h.heartbeat = 15 * time.Second
	}
	if h.streamAge == 0 {
		h.streamAge = defaultStreamAge
	}
	for _, t := range cfg.Registry.types {
		h.types[t.name] = t
		h.methods = append(h.methods, t.methods...)
		for _, m := range t.methods {
			h.named[m.Spec.Procedure] = m
		}
	}
	h.workers = newWorkers(h.committer)
	h.running.Go(func() { h.workers.watch(h.stop) })
	h.running.Go(func() { h.sweep(h.stop) })
	h.running.Go(func() { h.expire(h.stop) })
	h.dispatch(cfg)
	return h, nil
}

// Methods returns every RPC of every registered type.
func (h *Host) Methods() []*Method { return h.methods }

// Call runs one action and returns its reply once everything that the reply
// reports is durable. Every error is a *[connect.Error] with its details, ready
// for the wire. When ctx is cancelled the caller is answered at once; a turn that
// has begun goes on.
func (h *Host) Call(ctx context.Context, call *Call) (Reply, error) {
	if err := h.enter(); err != nil {
		return Reply{}, err
	}
	defer h.leave()
	reply, err := h.run(ctx, call)
	if err != nil {
		return Reply{}, wireError(ctx, h.log, call.Method, err)
	}
	return reply, nil
}

func (h *Host) enter() error {
	h.inFlight.Add(1)
	if h.closing.Load() {
		h.leave()
		return retryable(refusal(connect.CodeUnavailable, "shutting_down", notExecuted, "the server is stopping"), time.Second)
	}
	return nil
}

func (h *Host) leave() {
	if h.inFlight.Add(-1) == 0 && h.closing.Load() {
		h.drainOne.Do(func() { close(h.drained) })
	}
}
