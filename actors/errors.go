// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/seedbug"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Outcomes of a failed action; see [troupev1.Outcome].
const (
	notExecuted = troupev1.Outcome_OUTCOME_NOT_EXECUTED
	committed   = troupev1.Outcome_OUTCOME_COMMITTED
	unknown     = troupev1.Outcome_OUTCOME_UNKNOWN
)

// runtimeDomain is the ErrorInfo domain of errors that the runtime makes itself.
const runtimeDomain = "troupe.v1"

// Error is an error that an actor's author made for its callers. It is the only
// kind of error whose text leaves the process: a caller sees anything else as
// internal, with an id that finds the original in the log.
type Error struct {
	code     connect.Code
	reason   string
	message  string
	metadata map[string]string
	cause    error
}

// Errorf returns an error for callers. Reason is a short constant in snake_case
// that programs can branch on; the formatted message is for people. An error
// formatted with %w is kept for the log and for [errors.Is], and its text becomes
// part of the message.
func Errorf(code connect.Code, reason, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{code: code, reason: reason, message: err.Error(), cause: errors.Unwrap(err)}
}

// With returns a copy of e that carries one more pair of metadata for programs.
func (e *Error) With(key, value string) *Error {
	clone := *e
	clone.metadata = maps.Clone(e.metadata)
	if clone.metadata == nil {
		clone.metadata = make(map[string]string, 1)
	}
	clone.metadata[key] = value
	return &clone
}

// Error returns "code (reason): message".
func (e *Error) Error() string { return fmt.Sprintf("%s (%s): %s", e.code, e.reason, e.message) }

// Unwrap returns what the error was formatted with by %w.
func (e *Error) Unwrap() error { return e.cause }

// Code returns the code that callers see.
func (e *Error) Code() connect.Code { return e.code }

// Reason returns the reason that callers see.
func (e *Error) Reason() string { return e.reason }

// Message returns the text that callers see.
func (e *Error) Message() string { return e.message }

// Metadata returns a copy of the pairs that [Error.With] added.
func (e *Error) Metadata() map[string]string { return maps.Clone(e.metadata) }

// refusal is an error that the runtime makes for callers.
func refusal(code connect.Code, reason string, outcome troupev1.Outcome_Outcome, format string, args ...any) *connect.Error {
	err := connect.Errorf(code, format, args...)
	err = withDetail(err, &errdetails.ErrorInfo{Reason: reason, Domain: runtimeDomain})
	return withDetail(err, &troupev1.Outcome{Outcome: outcome})
}

// retryable adds when to try again.
func retryable(err *connect.Error, after time.Duration) *connect.Error {
	return withDetail(err, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
}

func withDetail(err *connect.Error, message proto.Message) *connect.Error {
	detail, marshalErr := connectproto.NewErrorDetail(message)
	if marshalErr != nil { // these messages always marshal
		return err
	}
	return err.WithDetail(detail)
}

// panicError is a panic of the author's code.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// wireError makes what a caller sees of an error that an actor's method or hook
// returned: authored errors pass, the rest is logged and becomes internal. A turn
// that returned an error has been rolled back; the runtime's own refusals carry
// their outcome themselves.
func wireError(ctx context.Context, log *slog.Logger, m *Method, err error) *connect.Error {
	if authored, ok := errors.AsType[*Error](err); ok {
		wire := connect.NewError(authored.code, authored.message).WithCause(err)
		wire = withDetail(wire, &errdetails.ErrorInfo{Reason: authored.reason, Domain: m.Type, Metadata: authored.metadata})
		return withDetail(wire, &troupev1.Outcome{Outcome: notExecuted})
	}
	if refused, ok := errors.AsType[*refusalError](err); ok {
		return refused.wire
	}
	if errors.Is(err, store.ErrFenced) { // of a read: the node learns of it soon
		return errNotOwner.(*refusalError).wire //nolint:errorlint,forcetypeassert // our own
	}
	if errors.Is(err, store.ErrUnavailable) {
		log.LogAttrs(ctx, slog.LevelWarn, "the store does not answer", slog.String("procedure", m.Spec.Procedure), slog.Any("error", err))
		return errStoreUnavailable.wire
	}
	if unimplemented, ok := errors.AsType[*connect.Error](err); ok &&
		unimplemented.Code() == connect.CodeUnimplemented && !unimplemented.IsRemote() {
		return refusal(connect.CodeUnimplemented, "unimplemented", notExecuted, "%s is not implemented", m.Spec.Procedure)
	}
	id := rand.Text()
	attrs := []slog.Attr{
		slog.String("correlation_id", id),
		slog.String("procedure", m.Spec.Procedure),
		slog.Any("error", err),
	}
	if panicked, ok := errors.AsType[*panicError](err); ok {
		attrs = append(attrs, slog.String("stack", string(panicked.stack)))
	}
	log.LogAttrs(ctx, slog.LevelError, "an action failed", attrs...)
	wire := connect.Errorf(connect.CodeInternal, "internal error %s", id).WithCause(err)
	if seedbug.On(16) {
		wire = connect.Errorf(connect.CodeInternal, "internal error %s: %s", id, err)
	}
	wire = withDetail(wire, &errdetails.ErrorInfo{Reason: "internal", Domain: runtimeDomain})
	return withDetail(wire, &troupev1.Outcome{Outcome: notExecuted, CorrelationId: id})
}

// refusalError carries a runtime refusal through code that returns plain errors.
type refusalError struct{ wire *connect.Error }

func (e *refusalError) Error() string { return e.wire.Error() }

// Unwrap lets an author's code ask for the code, by [connect.CodeOf].
func (e *refusalError) Unwrap() error { return e.wire }

// errIncarnationGone tells the host to look the actor up again.
var errIncarnationGone = errors.New("actors: the incarnation is gone")
