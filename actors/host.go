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

// Config configures a [Host].
type Config struct {
	// Registry holds the actor types. Required.
	Registry *Registry
	// Store keeps the actors. Required; the host does not close it.
	Store store.Store
	// Validate, unless nil, checks requests, inputs and connection parameters.
	// It returns a *[connect.Error] for the caller.
	Validate func(proto.Message) error
	// Logger is where the host writes; nil means [slog.Default].
	Logger *slog.Logger
	// Heartbeat is the longest silence of a subscription. 0 means 15 s.
	Heartbeat time.Duration
	// CheckReads encodes the state before and after each read-only action, and
	// fails one that changed it. It is for development and tests.
	CheckReads bool
	// ScheduledTurns is how many actors may run a schedule at one time. 0 means
	// 64. What is due beyond it waits.
	ScheduledTurns int
	// ConcurrentWakes is how many actors come into memory at one time. 0 means
	// 256. One more waits for 2 s and is then refused with unavailable.
	ConcurrentWakes int
	// MemoryLimit is what the process may use, in bytes. When the live heap
	// reaches 60 % of it, idle actors sleep, the longest unused first; at 85 %
	// no actor comes into memory, and at 95 % nothing is written: calls are
	// refused with resource_exhausted. 0 means GOMEMLIMIT, if that is set.
	MemoryLimit int64
	// MaxCallDepth is how many actors may wait for each other in one chain of
	// calls. 0 means 16.
	MaxCallDepth int
	// WakeRate is how many sleeping actors are woken in a second for what is due.
	// 0 means 500.
	WakeRate int
	// MaxStreamAge is how long a subscription lasts, give or take a tenth; it
	// then ends with CLOSE_REASON_EXPIRED and a cursor. 0 means 1 h.
	MaxStreamAge time.Duration

	liveHeap func() (live, cycle uint64) // unless nil, what tests say the heap is
}

// Host runs actors. Its methods may be called concurrently.
type Host struct {
	store      store.Store
	shards     uint16
	generation uint64 // of the store
	validate   func(proto.Message) error
	log        *slog.Logger
	heartbeat  time.Duration
	checks     bool // Config.CheckReads
	streamAge  time.Duration
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
}

// NewHost checks cfg and the registered types and returns a host that runs, until
// [Host.Shutdown].
func NewHost(cfg Config) (*Host, error) {
	switch {
	case cfg.Registry == nil:
		return nil, errors.New("actors: Config.Registry is nil: pass the registry that the actor types were registered with")
	case cfg.ConcurrentWakes < 0 || cfg.MemoryLimit < 0 || cfg.MaxCallDepth < 0:
		return nil, errors.New("actors: Config.ConcurrentWakes, MemoryLimit and MaxCallDepth must not be negative")
	case cfg.Store == nil:
		return nil, errors.New("actors: Config.Store is nil: open one, such as store/embedded or store/memory")
	case cfg.ScheduledTurns < 0 || cfg.WakeRate < 0:
		return nil, errors.New("actors: Config.ScheduledTurns and Config.WakeRate must not be negative")
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
		streamAge:  cfg.MaxStreamAge,
		types:      make(map[string]*actorType, len(cfg.Registry.types)),
		named:      make(map[string]*Method),
		table:      newTable(),
		committer:  newCommitter(cfg.Store),
		crashes:    newCrashes(),
		callDepth:  cmp.Or(cfg.MaxCallDepth, defaultCallDepth),
		wakes:      make(gate, cmp.Or(cfg.ConcurrentWakes, 256)),
		pressure:   newPressure(cfg),
		drained:    make(chan struct{}),
		quit:       make(chan struct{}),
		stop:       make(chan struct{}),
		stopped:    make(chan struct{}),
		tokens:     sync.Pool{New: func() any { return make(chan struct{}, 1) }},
	}
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
	t, err := h.call(ctx, call)
	if err != nil {
		return Reply{}, wireError(ctx, h.log, call.Method, err)
	}
	return t.reply, nil
}

func (h *Host) call(ctx context.Context, call *Call) (*turn, error) {
	params, err := h.admit(ctx, call)
	if err != nil {
		return nil, err
	}
	return h.submit(ctx, call, params, call.Method.ReadOnly, runAction)
}

// admit checks a call and runs the hook that may refuse it. It returns the
// parameters that a call outside a connection carries.
func (h *Host) admit(ctx context.Context, call *Call) (params proto.Message, err error) {
	typ := call.Method.owner
	if err := h.checkChain(call); err != nil {
		return nil, err
	}
	if err := h.check(call.Request); err != nil {
		return nil, err
	}
	if !typ.hasConn || call.Conn != "" {
		return nil, nil //nolint:nilnil // there are none
	}
	if params, err = h.params(typ, call.Params); err != nil {
		return nil, err
	}
	return params, beforeConnect(ctx, typ, call, params)
}

// runAction is what the turn of an action does.
func runAction(t *turn, b *body) error {
	if t.call.postmark != nil {
		if taken, err := t.take(t.call.postmark); taken || err != nil {
			return err
		}
	}
	if t.repeatable() {
		return t.once(b)
	}
	if err := t.join(b); err != nil {
		return err
	}
	return b.serve(t)
}

// submit runs a turn at the actor that a call names, again if the actor is
// destroyed while the call waits and the key finds another one.
func (h *Host) submit(ctx context.Context, call *Call, params proto.Message, readOnly bool, run func(*turn, *body) error) (*turn, error) {
	return h.submitTurn(ctx, call, func(t *turn) { t.params, t.readOnly = params, readOnly }, run)
}

// submitTurn is submit for a turn that set has its way with first.
func (h *Host) submitTurn(ctx context.Context, call *Call, set func(*turn), run func(*turn, *body) error) (*turn, error) {
	for ended := false; ; {
		i, err := h.find(ctx, call)
		if err != nil {
			return nil, err
		}
		t := h.newTurn(ctx, call.Method.owner, call, run)
		set(t)
		err = h.await(ctx, i, t)
		if err == errIncarnationGone { //nolint:errorlint // our own, never wrapped, on the hot path
			continue
		}
		if err == errDestroyedInWake && !ended && call.ID.IsZero() { //nolint:errorlint // our own, never wrapped
			ended = true // the key is free: the next one is another actor
			continue
		}
		return t, err
	}
}

// find returns the instance that a call names.
func (h *Host) find(ctx context.Context, call *Call) (*instance, error) {
	typ := call.Method.owner
	if call.ID.IsZero() {
		return h.table.get(h, typ, call.Address), nil
	}
	i := h.table.withID(call.ID)
	if i == nil {
		record, err := h.store.LoadID(ctx, call.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil, notFound()
		} else if err != nil {
			return nil, fmt.Errorf("look up an actor id: %w", err)
		}
		if record.Type != typ.name || record.Namespace != call.Address.Namespace {
			return nil, notFound() // before the table gets an entry that nobody would forget
		}
		i = h.table.get(h, typ, record.Address)
	}
	if i.typ != typ || i.addr.Namespace != call.Address.Namespace {
		return nil, notFound()
	}
	return i, nil
}

// await queues a turn and waits until it is answered or its caller leaves.
func (h *Host) await(ctx context.Context, i *instance, t *turn) error {
	mine, err := i.enqueue(t)
	switch {
	case err != nil:
		return err
	case mine:
		h.workers.lend(t)
	}
	if t.call != nil && t.call.caller != nil {
		return h.answerCaller(ctx, t)
	}
	return h.answer(ctx, t)
}

// answer waits until a turn is answered or its caller leaves.
func (h *Host) answer(ctx context.Context, t *turn) error {
	select {
	case <-t.ready:
		h.tokens.Put(t.ready)
		return t.err
	case <-ctx.Done():
		return h.abandon(t, ctx.Err())
	}
}

// abandon answers a caller who leaves. A turn that waits never runs. One that runs
// past its caller's deadline is given up; one whose caller went away goes on. One
// that has run may be durable or not.
func (h *Host) abandon(t *turn, cause error) error {
	code, reason := connect.CodeCanceled, "canceled"
	if errors.Is(cause, context.DeadlineExceeded) {
		code, reason = connect.CodeDeadlineExceeded, "deadline_exceeded"
	}
	if t.status.CompareAndSwap(turnQueued, turnSealed) {
		t.inst.mu.Lock()
		t.inst.queue.remove(t)
		t.inst.dispatchLocked() // who waited behind it may run beside the readers that run
		t.inst.mu.Unlock()
		return &refusalError{refusal(code, reason, notExecuted, "the call ended while it waited for its turn")}
	}
	if code == connect.CodeDeadlineExceeded && t.status.CompareAndSwap(turnRunning, turnSealed) {
		t.end(context.DeadlineExceeded)
		return &refusalError{refusal(code, reason, notExecuted, "the turn did not end in time and was rolled back")}
	}
	if t.status.Load() == turnSealed { // somebody else's answer is on its way
		<-t.ready
		return t.err
	}
	h.subscribers.Go(func() { // while in flight: Shutdown waits for it
		if <-t.ready; t.err == nil && t.opened != nil {
			h.disconnect(t.opened)
		}
		t.inst.mu.Lock()
		t.releaseLocked() // of a streaming action
		t.inst.mu.Unlock()
	})
	return &refusalError{refusal(code, reason, unknown, "the call ended before its answer was ready")}
}

// check validates a message that came from outside.
func (h *Host) check(message proto.Message) error {
	if h.validate == nil {
		return nil
	}
	err := h.validate(message)
	if wire, ok := errors.AsType[*connect.Error](err); ok {
		return &refusalError{wire}
	}
	return err
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
