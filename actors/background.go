// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Go runs work beside the actor, on a goroutine that the actor supervises. The work
// keeps the actor awake and reaches its state by [Actor.Turn]. Its context is the
// actor's: it ends when the actor stops, because the server does, the actor was
// destroyed, or it was loaded again after a panic or a commit that failed. A
// server that stops waits for the work, up to [WaitUntilTimeout]. A panic ends the
// work, is logged, and harms nothing else.
//
// Work that is started in a turn begins once the turn is durable; if the turn
// fails, it never does. It does not survive the process: what must go on after a
// crash is started by [OnWake] or a schedule. Go must not be used in a read-only
// turn.
func (a *Actor[State, Event]) Go(do func(ctx context.Context)) {
	a.body.start("Go", &work{body: a.body, do: do})
}

// WaitUntil runs work beside the actor that may finish after the actor's last call.
// Unlike the work of [Actor.Go] it does not keep the actor awake, it only delays
// its sleep and the end of the server, for at most [WaitUntilTimeout]. Its context
// ends when that is over, or when the actor is destroyed or loaded again.
func (a *Actor[State, Event]) WaitUntil(do func(ctx context.Context)) {
	a.body.start("WaitUntil", &work{body: a.body, do: do, late: true})
}

// KeepAwake keeps the actor in memory until release is called, which may be done
// more than once and anywhere. There is no time limit: an actor that is never
// released stays until the server stops. A turn that fails releases what it kept.
// KeepAwake must not be used in a read-only turn.
func (a *Actor[State, Event]) KeepAwake() (release func()) {
	return a.body.keepAwake().release
}

// Context returns the actor's own context, for what outlives a turn: it ends when
// the actor stops, as that of [Actor.Go] does. It may be used anywhere.
func (a *Actor[State, Event]) Context() context.Context {
	a.body.inst.mu.Lock()
	defer a.body.inst.mu.Unlock()
	return a.body.besideLocked().ctx
}

// WaitUntilTimeout is how long the work of [Actor.Go] may take to end when the
// server stops, and how long that of [Actor.WaitUntil] may delay the actor's sleep
// or the end of the server. Default 15 s.
func WaitUntilTimeout(d time.Duration) Option {
	return positive("WaitUntilTimeout", d, func(l *limits) { l.waitUntil = d })
}

// background is what runs beside a body in memory, made when it is first needed.
// The instance's mu guards the numbers.
type background struct {
	ctx    context.Context //nolint:containedctx // the actor's own: ends when the actor begins to stop
	stop   context.CancelCauseFunc
	late   context.Context //nolint:containedctx // ends when the actor leaves memory; ctx is its child
	end    context.CancelCauseFunc
	holds  int // keep the actor awake
	delays int // delay its sleep
}

func newBackground() *background {
	g := new(background)
	g.late, g.end = context.WithCancelCause(context.Background())
	g.ctx, g.stop = context.WithCancelCause(g.late)
	return g
}

// gone is the background of every body that left memory and had none.
var gone = func() *background {
	g := newBackground()
	g.end(errRestarted)
	return g
}()

func (b *body) besideLocked() *background {
	if b.beside == nil {
		b.beside = newBackground()
		b.stopIfClosingLocked()
	}
	return b.beside
}

// stopIfClosingLocked ends the actor's context if the server is stopping, or hands
// the actor over.
func (b *body) stopIfClosingLocked() {
	switch {
	case b.beside == nil:
	case b.inst.host.closing.Load():
		b.beside.stop(errStopping)
	case !b.inst.host.admits(b.inst.shard):
		b.beside.stop(errNotOwner)
	}
}

// handedOverLocked reports whether a handover has ended the actor's context.
func (b *body) handedOverLocked() bool {
	return b.beside != nil && errors.Is(context.Cause(b.beside.ctx), errNotOwner)
}

// endLocked ends what runs beside a body that leaves memory.
func (b *body) endLocked() {
	if b.beside == nil {
		b.beside = gone
	}
	b.beside.end(errRestarted)
}

// endIf ends what runs beside a body that could not be brought into memory.
func (b *body) endIf(err *error) {
	if *err != nil {
		b.inst.mu.Lock()
		defer b.inst.mu.Unlock()
		b.endLocked()
	}
}

// keptLocked reports whether something keeps the body in memory that has been idle
// for a time.
func (b *body) keptLocked(idle time.Duration) bool {
	g, l := b.beside, &b.inst.typ.limits
	return g != nil && (g.holds > 0 || g.delays > 0 && idle < l.sleepAfter+l.waitUntil)
}

// aside is what a turn does that has to do with what runs beside the actor.
type aside struct {
	works []*work // begin when the turn is durable
	holds []*hold // end if the turn fails
}

func (t *turn) besides() *aside {
	if t.aside == nil {
		t.aside = new(aside)
	}
	return t.aside
}

// takeWorks returns what begins once the turn is durable, and forgets what would be
// undone if it failed.
func (t *turn) takeWorks() []*work {
	if t.aside == nil {
		return nil
	}
	works := t.aside.works
	t.aside = nil
	return works
}

func (t *turn) releaseLocked() {
	if t.aside != nil {
		for _, h := range t.aside.holds {
			h.releaseLocked()
		}
		t.aside = nil
	}
}

// hold keeps a body in memory.
type hold struct {
	body     *body
	released bool // guarded by the instance's mu
}

func (b *body) holdLocked() *hold {
	if g := b.besideLocked(); g != gone {
		g.holds++
	}
	return &hold{body: b}
}

func (b *body) keepAwake() *hold {
	inside := insideTurn()
	if inside {
		b.writing("KeepAwake")
	}
	b.inst.mu.Lock()
	h := b.holdLocked()
	b.inst.mu.Unlock()
	if inside {
		t := b.turn.besides()
		t.holds = append(t.holds, h)
	}
	return h
}

func (h *hold) release() {
	h.body.inst.mu.Lock()
	defer h.body.inst.mu.Unlock()
	h.releaseLocked()
}

func (h *hold) releaseLocked() {
	if h.released {
		return
	}
	h.released = true
	if g := h.body.beside; g != gone {
		g.holds--
		h.body.inst.lastUsed = time.Now() // the actor has been in use until now
	}
}

// work is one function that runs beside an actor.
type work struct {
	body *body
	do   func(ctx context.Context)
	late bool // may run on while the actor stops
	done chan struct{}
}

// start starts work, or has the turn that runs start it.
func (b *body) start(what string, w *work) {
	if insideTurn() {
		t := b.writing(what).besides()
		t.works = append(t.works, w)
		return
	}
	b.inst.mu.Lock()
	defer b.inst.mu.Unlock()
	w.startLocked()
}

func startLocked(works []*work) {
	for _, w := range works {
		w.startLocked()
	}
}

// startLocked begins the work. If its actor has left memory meanwhile, the work's
// context has ended from the beginning.
func (w *work) startLocked() {
	g := w.body.besideLocked()
	w.done = make(chan struct{})
	ctx := g.ctx
	if w.late {
		ctx = g.late
	}
	w.countLocked(g, 1)
	w.body.inst.host.works.add(w)
	go w.serve(ctx)
}

func (w *work) countLocked(g *background, n int) {
	switch {
	case g == gone:
	case w.late:
		g.delays += n
	default:
		g.holds += n
	}
}

// serve runs the work. Deferred, its end holds for runtime.Goexit too.
func (w *work) serve(ctx context.Context) {
	i := w.body.inst
	defer func() {
		i.mu.Lock()
		w.countLocked(w.body.beside, -1)
		if !w.late {
			i.lastUsed = time.Now()
		}
		i.mu.Unlock()
		i.host.works.remove(w)
		close(w.done)
	}()
	err := protect(func() error { w.do(ctx); return nil })
	if panicked, ok := errors.AsType[*panicError](err); ok {
		i.logger().Error("work beside an actor panicked", slog.Any("error", err), slog.String("stack", string(panicked.stack)))
	}
}

// works is everything that runs beside the actors of a host.
type works struct {
	mu      sync.Mutex
	running map[*work]struct{} // guarded by mu
}

func (s *works) add(w *work) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		s.running = make(map[*work]struct{})
	}
	s.running[w] = struct{}{}
}

func (s *works) remove(w *work) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, w)
}

// any returns one of those that run, or nil.
func (s *works) any() *work {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.running {
		return w
	}
	return nil
}

// await waits until nothing runs beside any actor, or all that does has had its
// time.
func (s *works) await() {
	began := time.Now()
	for w := s.any(); w != nil; w = s.any() {
		timer := time.NewTimer(w.body.inst.typ.limits.waitUntil - time.Since(began))
		select {
		case <-w.done:
		case <-timer.C:
			w.body.inst.logger().Warn("work beside an actor did not end in time when the server stopped")
			s.remove(w)
		}
		timer.Stop()
	}
}
