// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// What the package comment says about retries of unary calls.
const (
	maxAttempts     = 3
	retryBaseWait   = 50 * time.Millisecond // doubles with each retry
	maxRetryWait    = 5 * time.Second
	callsPerRetry   = 10 // a call earns a tenth of a retry
	maxSavedRetries = 10
)

// retries sends unary calls again when that is safe, as far as its budget lasts.
type retries struct {
	// budget counts tenths of a retry. A call adds one, a retry takes
	// callsPerRetry. It starts full so that a new client can retry at all.
	budget atomic.Int64
}

func newRetries() *retries {
	r := new(retries)
	r.budget.Store(maxSavedRetries * callsPerRetry)
	return r
}

func (r *retries) intercept(next connect.ClientFunc) connect.ClientFunc {
	return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
		if spec.StreamType != connect.StreamTypeUnary {
			return next(ctx, spec)
		}
		return newUnaryCall(ctx, spec, next, r.run), nil
	}
}

// run is the [unaryPolicy].
func (r *retries) run(ctx context.Context, spec connect.Spec, once func(context.Context) error) error {
	r.earn()
	for attempt := 1; ; attempt++ {
		err := once(ctx)
		if err == nil || attempt == maxAttempts || ctx.Err() != nil || !mayRetry(spec, err) {
			return err
		}
		wait := retryWait(attempt, err)
		if deadline, ok := ctx.Deadline(); wait > maxRetryWait || ok && time.Until(deadline) <= wait {
			return err
		}
		if !r.spend() {
			return err
		}
		if sleep(ctx, wait) != nil {
			return err
		}
	}
}

func (r *retries) earn() {
	for {
		have := r.budget.Load()
		if have >= maxSavedRetries*callsPerRetry || r.budget.CompareAndSwap(have, have+1) {
			return
		}
	}
}

func (r *retries) spend() bool {
	for {
		have := r.budget.Load()
		if have < callsPerRetry {
			return false
		}
		if r.budget.CompareAndSwap(have, have-callsPerRetry) {
			return true
		}
	}
}

// mayRetry reports whether a call that failed with err may be sent again.
func mayRetry(spec connect.Spec, err error) bool {
	wire, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return false
	}
	_, invited := RetryDelay(err)
	if spec.IdempotencyLevel == connect.IdempotencyUnknown {
		return invited && isRefusal(wire) && OutcomeOf(err) == troupev1.Outcome_OUTCOME_NOT_EXECUTED
	}
	if !wire.IsRemote() {
		return isLostAnswer(wire)
	}
	switch wire.Code() {
	case connect.CodeUnavailable, connect.CodeAborted:
		return true
	case connect.CodeResourceExhausted:
		return invited
	}
	return false
}

// isRefusal reports whether the server itself said no with a code that a later
// attempt can turn into a yes.
func isRefusal(err *connect.Error) bool {
	switch err.Code() {
	case connect.CodeResourceExhausted, connect.CodeUnavailable, connect.CodeAborted:
		return err.IsRemote()
	}
	return false
}

// isLostAnswer reports whether an error that did not come from the server means
// that its answer never arrived. The caller knows that the context is not done.
func isLostAnswer(err *connect.Error) bool {
	switch err.Code() {
	case connect.CodeUnavailable, connect.CodeUnknown, connect.CodeCanceled, connect.CodeDeadlineExceeded:
		return true
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}

// retryWait is how long to wait after the attempt, counted from 1, that failed.
func retryWait(attempt int, err error) time.Duration {
	asked, _ := RetryDelay(err)
	return asked + jitter(retryBaseWait<<(attempt-1))
}

// jitter returns a random duration in [0, limit).
func jitter(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit) //nolint:gosec // it spreads callers, it keeps no secret
}

// sleep waits, or returns the context's error if it ends first.
func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
