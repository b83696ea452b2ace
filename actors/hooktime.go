// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"
)

// HookTimeouts is an option that bounds the hooks of a type. A field that is zero
// leaves its hooks at their default.
//
// A hook that runs in a turn counts towards that turn's time too: see
// [ActionTimeout]. One past its own limit is given up as a turn past its limit is:
// its context ends, what it did is undone, whom it served is answered with
// unavailable, reason hook_timeout, and the actor goes on once its code returns.
type HookTimeouts struct {
	// Create bounds [OnCreate]. Default 10 s.
	Create time.Duration
	// Migrate bounds all the [Migrate] steps of one wake together. Default 30 s.
	Migrate time.Duration
	// Wake bounds [OnWake]. Default 10 s.
	Wake time.Duration
	// Sleep bounds [OnSleep]. Default 5 s.
	Sleep time.Duration
	// Destroy bounds [OnDestroy]. Default 5 s.
	Destroy time.Duration
	// Connect bounds each of [BeforeConnect], [CreateConnState], [OnConnect] and
	// [OnDisconnect]. Default 5 s. BeforeConnect runs in no turn: the caller of
	// one that ignores its context is answered all the same, and its goroutine
	// goes on until it returns.
	Connect time.Duration
	// Action bounds each of [OnStateChange] and [BeforeActionResponse]. Default
	// 5 s.
	Action time.Duration
}

var _ Option = HookTimeouts{}

func defaultHookTimeouts() HookTimeouts {
	return HookTimeouts{
		Create:  10 * time.Second,
		Migrate: 30 * time.Second,
		Wake:    10 * time.Second,
		Sleep:   5 * time.Second,
		Destroy: 5 * time.Second,
		Connect: 5 * time.Second,
		Action:  5 * time.Second,
	}
}

func (h HookTimeouts) apply(t *actorType) error {
	var errs []error
	set := func(name string, to *time.Duration, d time.Duration) {
		if d < 0 {
			errs = append(errs, fmt.Errorf("HookTimeouts.%s is %s and must not be negative", name, d))
		} else if d > 0 {
			*to = d
		}
	}
	to := &t.limits.hooks
	set("Create", &to.Create, h.Create)
	set("Migrate", &to.Migrate, h.Migrate)
	set("Wake", &to.Wake, h.Wake)
	set("Sleep", &to.Sleep, h.Sleep)
	set("Destroy", &to.Destroy, h.Destroy)
	set("Connect", &to.Connect, h.Connect)
	set("Action", &to.Action, h.Action)
	return errors.Join(errs...)
}

// hookRun is a hook that runs in a turn, for the watchdog.
type hookRun struct {
	name     string
	limit    time.Duration
	deadline time.Time
}

// within runs a hook inside the turn, and makes an error of a panic. When the hook
// takes longer than limit, the watchdog gives the turn up.
func (t *turn) within(name string, limit time.Duration, hook func() error) error {
	outer := t.hook.Swap(&hookRun{name: name, limit: limit, deadline: time.Now().Add(limit)})
	defer t.hook.Store(outer)
	if err := protect(hook); err != nil {
		return err
	}
	if t.status.Load() != turnRunning {
		return context.DeadlineExceeded
	}
	return nil
}

// overdue returns what a turn is to be given up with, nil while it has time.
func (t *turn) overdue(now time.Time) *refusalError {
	if now.After(t.deadline) {
		return errOutOfTime
	}
	if run := t.hook.Load(); run != nil && now.After(run.deadline) {
		t.hookLate.Store(true)
		return hookTimeout(run.name, run.limit)
	}
	return nil
}

func hookTimeout(name string, limit time.Duration) *refusalError {
	return &refusalError{retryable(refusal(connect.CodeUnavailable, "hook_timeout", notExecuted,
		"the actor's %s hook did not end within %s", name, limit), time.Second)}
}
