// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/wire"
)

// What the package comment says about retries of unary calls.
const (
	maxAttempts     = 3
	retryBaseWait   = 50 * time.Millisecond // doubles with each retry
	maxRetryWait    = 5 * time.Second
	callsPerRetry   = 10 // a call earns a tenth of a retry
	maxSavedRetries = 10

	// autoKeyPrefix tells the server that nobody knows the key but this call.
	autoKeyPrefix = "auto-"
)

// retries sends unary calls again when that is safe, as far as its budget lasts.
type retries struct {
	// budget counts tenths of a retry. A call adds one, a retry takes
	// callsPerRetry. It starts full so that a new client can retry at all.
	budget   atomic.Int64
	attempts int // of one call
}

func newRetries(attempts int) *retries {
	r := &retries{attempts: attempts}
	r.budget.Store(maxSavedRetries * callsPerRetry)
	return r
}

// intercept repeats the unary calls of a client. With keys, the calls that are not
// declared harmless get an idempotency key, so that a server runs them once.
func (r *retries) intercept(keys bool) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if spec.StreamType != connect.StreamTypeUnary {
				return next(ctx, spec)
			}
			if keys && spec.IdempotencyLevel == connect.IdempotencyUnknown {
				return newUnaryCall(ctx, spec, next, r.runKeyed), nil
			}
			return newUnaryCall(ctx, spec, next, r.run), nil
		}
	}
}

// runKeyed is the [unaryPolicy] of a call that gets an idempotency key. The key is
// taken back in the end: a caller may use the call's metadata for its next call.
func (r *retries) runKeyed(ctx context.Context, spec connect.Spec, once func(context.Context) error) error {
	ctx, info := callInfo(ctx)
	if info.RequestHeader().Get(wire.HeaderIdempotencyKey) == "" {
		key := autoKeyPrefix + rand.Text()
		if whole, ok := ctx.Value(wholeCallKey{}).(*wholeCall); ok {
			whole.key = cmp.Or(whole.key, key)
			key = whole.key
		}
		info.RequestHeader().Set(wire.HeaderIdempotencyKey, key)
		defer info.RequestHeader().Delete(wire.HeaderIdempotencyKey)
	}
	return r.run(ctx, spec, once)
}

// wholeCall is what the attempts of one call have in common.
type wholeCall struct {
	key     string       // the idempotency key that the client made; may be empty
	inDoubt bool         // a request that was repeated may have had its effect
	bound   func() error // fails once the connection of the present attempts is gone
}

// wholeCallKey is where a [Connection], which repeats calls that are repeated
// themselves, puts a wholeCall.
type wholeCallKey struct{}

// verdict returns the error of the last attempt as that of the whole call.
func (w *wholeCall) verdict(spec connect.Spec, err error) error {
	if w.inDoubt && spec.IdempotencyLevel != connect.IdempotencyNoSideEffects {
		return doubted(err)
	}
	return err
}

// hasKey reports whether a call carries an idempotency key.
func hasKey(ctx context.Context) bool {
	info, ok := connect.CallInfoForClientContext(ctx)
	return ok && info.RequestHeader().Get(wire.HeaderIdempotencyKey) != ""
}

// run is the [unaryPolicy].
func (r *retries) run(ctx context.Context, spec connect.Spec, once func(context.Context) error) error {
	r.earn()
	whole, inside := ctx.Value(wholeCallKey{}).(*wholeCall)
	if !inside {
		whole = new(wholeCall)
	}
	for attempt := 1; ; attempt++ {
		err := once(ctx)
		if err == nil {
			return nil
		}
		if attempt == r.attempts || ctx.Err() != nil || !mayRetry(spec, hasKey(ctx), err) || !r.pause(ctx, attempt, err) {
			if inside {
				return err
			}
			return whole.verdict(spec, err)
		}
		whole.inDoubt = whole.inDoubt || OutcomeOf(err) == troupev1.Outcome_OUTCOME_UNKNOWN
		if inside {
			if err := whole.bound(); err != nil {
				return err
			}
		}
	}
}

// pause waits before the attempt after one that failed, or reports that there is
// neither time nor budget for it.
func (r *retries) pause(ctx context.Context, attempt int, err error) bool {
	wait := retryWait(attempt, err)
	if deadline, ok := ctx.Deadline(); wait > maxRetryWait || ok && time.Until(deadline) <= wait {
		return false
	}
	return r.spend() && sleep(ctx, wait) == nil
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

// mayRetry reports whether a call that failed with err may be sent again. Keyed says
// that it carries an idempotency key.
func mayRetry(spec connect.Spec, keyed bool, err error) bool {
	wire, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return false
	}
	_, invited := RetryDelay(err)
	if spec.IdempotencyLevel == connect.IdempotencyUnknown {
		if invited && isRefusal(wire) && OutcomeOf(err) == troupev1.Outcome_OUTCOME_NOT_EXECUTED {
			return true
		}
		if !keyed || OutcomeOf(err) != troupev1.Outcome_OUTCOME_UNKNOWN {
			return false
		}
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
	return mathrand.N(limit) //nolint:gosec // it spreads callers, it keeps no secret
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
