// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// errorDomain is the ErrorInfo domain of every error that the edge makes.
const errorDomain = "troupe.v1"

// refusal is a kind of error that the edge makes: a code for people's libraries
// and a reason for their programs.
type refusal struct {
	code   connect.Code
	reason string
}

// Every error that the edge makes by itself, except internal ones. None of these
// calls has been executed.
var (
	badActorKey       = refusal{connect.CodeInvalidArgument, "bad_actor_key"}
	badActorID        = refusal{connect.CodeInvalidArgument, "bad_actor_id"}
	badActorType      = refusal{connect.CodeInvalidArgument, "bad_actor_type"}
	badActorInput     = refusal{connect.CodeInvalidArgument, "bad_actor_input"}
	badActorParams    = refusal{connect.CodeInvalidArgument, "bad_actor_params"}
	badActorResolve   = refusal{connect.CodeInvalidArgument, "bad_actor_resolve"}
	badActorConn      = refusal{connect.CodeInvalidArgument, "bad_actor_conn"}
	badActorResume    = refusal{connect.CodeInvalidArgument, "bad_actor_resume"}
	badActorEvents    = refusal{connect.CodeInvalidArgument, "bad_actor_events"}
	badIdempotencyKey = refusal{connect.CodeInvalidArgument, "bad_idempotency_key"}
	badNamespace      = refusal{connect.CodeInvalidArgument, "bad_namespace"}
	badPageToken      = refusal{connect.CodeInvalidArgument, "bad_page_token"}
	badSubscription   = refusal{connect.CodeInvalidArgument, "bad_subscription"}
	badURLAddress     = refusal{connect.CodeInvalidArgument, "bad_url_address"}
	addressConflict   = refusal{connect.CodeInvalidArgument, "address_conflict"}
	badBody           = refusal{connect.CodeInvalidArgument, "bad_request_body"}
	truncatedBody     = refusal{connect.CodeInvalidArgument, "truncated_request_body"}
	badMediaType      = refusal{connect.CodeInvalidArgument, "unsupported_content_type"}
	invalidMessage    = refusal{connect.CodeInvalidArgument, "invalid_message"}
	slowBody          = refusal{connect.CodeDeadlineExceeded, "request_body_timeout"}
	callerGone        = refusal{connect.CodeCanceled, "canceled"}
	callerTimeout     = refusal{connect.CodeDeadlineExceeded, "deadline_exceeded"}
	tooLarge          = refusal{connect.CodeResourceExhausted, "request_too_large"}
	tooManyCalls      = refusal{connect.CodeResourceExhausted, "too_many_calls"}
	tooManyStreams    = refusal{connect.CodeResourceExhausted, "too_many_subscriptions"}
	tooManyFailures   = refusal{connect.CodeResourceExhausted, "too_many_failed_authentications"}
	callsOfPrincipal  = refusal{connect.CodeResourceExhausted, "too_many_calls_of_principal"}
	callsOfAddress    = refusal{connect.CodeResourceExhausted, "too_many_calls_of_address"}
	streamsOfSubject  = refusal{connect.CodeResourceExhausted, "too_many_subscriptions_of_principal"}
	tooManyCarried    = refusal{connect.CodeResourceExhausted, "too_many_subscriptions_of_stream"}
	rateLimited       = refusal{connect.CodeResourceExhausted, "rate_limited"}
	streamGone        = refusal{connect.CodeFailedPrecondition, "stream_gone"}
	stopping          = refusal{connect.CodeUnavailable, "shutting_down"}
	unknownNamespace  = refusal{connect.CodeNotFound, "unknown_namespace"}
	unknownType       = refusal{connect.CodeNotFound, "unknown_actor_type"}
	noRawHandler      = refusal{connect.CodeNotFound, "no_raw_handler"}
	unknownHealth     = refusal{connect.CodeNotFound, "unknown_health_service"}
	unknownService    = refusal{connect.CodeUnimplemented, "unknown_service"}
	unknownMethod     = refusal{connect.CodeUnimplemented, "unknown_method"}
	internalMethod    = refusal{connect.CodePermissionDenied, "internal_method"}
	hostNotAllowed    = refusal{connect.CodePermissionDenied, "host_not_allowed"}
	namespaceDenied   = refusal{connect.CodePermissionDenied, "namespace_denied"}
	unauthenticated   = refusal{connect.CodeUnauthenticated, "unauthenticated"}
	reservedSubject   = refusal{connect.CodeUnauthenticated, "reserved_subject"}
	crossOrigin       = refusal{connect.CodePermissionDenied, "cross_origin"}
	needsServerRole   = refusal{connect.CodePermissionDenied, "server_role_required"}
	nodeUnreachable   = refusal{connect.CodeUnavailable, "node_unreachable"}
	answerLost        = refusal{connect.CodeUnavailable, "answer_lost"}
	badForwarded      = refusal{connect.CodeInternal, "bad_forwarded_call"}
)

// notOwner is the error about an actor that no node runs as far as this one knows.
func notOwner() *connect.Error {
	return retryAfter(refusal{connect.CodeUnavailable, "not_owner"}.errorf("the actor is moving to another node; try again"), moveDelay)
}

// errorf makes the error. The text is for the caller: it must not hold anything
// that the caller may not know.
func (r refusal) errorf(format string, args ...any) *connect.Error {
	err := connect.Errorf(r.code, format, args...)
	err = withDetail(err, &errdetails.ErrorInfo{Reason: r.reason, Domain: errorDomain})
	return withDetail(err, &troupev1.Outcome{Outcome: troupev1.Outcome_OUTCOME_NOT_EXECUTED})
}

// unknownf is errorf for a call that may have been executed.
func (r refusal) unknownf(format string, args ...any) *connect.Error {
	err := connect.Errorf(r.code, format, args...)
	err = withDetail(err, &errdetails.ErrorInfo{Reason: r.reason, Domain: errorDomain})
	return withDetail(err, &troupev1.Outcome{Outcome: troupev1.Outcome_OUTCOME_UNKNOWN})
}

// replyTooLarge is the error about a reply that the server may not send. What made it
// may have been committed: by the ActorService, or by a turn at a node with a higher
// limit, or under an idempotency key for a caller with a shorter encoding.
func replyTooLarge(size, limit int, committed bool) *connect.Error {
	outcome := troupev1.Outcome_OUTCOME_NOT_EXECUTED
	if committed {
		outcome = troupev1.Outcome_OUTCOME_COMMITTED
	}
	err := connect.Errorf(connect.CodeResourceExhausted, "the reply has %d bytes and may have %d", size, limit)
	err = withDetail(err, &errdetails.ErrorInfo{Reason: "reply_too_large", Domain: errorDomain})
	return withDetail(err, &troupev1.Outcome{Outcome: outcome})
}

// retryAfter says when to try again.
func retryAfter(err *connect.Error, delay time.Duration) *connect.Error {
	return withDetail(err, &errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
}

func withDetail(err *connect.Error, message proto.Message) *connect.Error {
	detail, marshalErr := connectproto.NewErrorDetail(message)
	if marshalErr != nil { // these messages always marshal
		return err
	}
	return err.WithDetail(detail)
}

// receiveError types an error of reading or decoding a request: Connect's own say
// only a code. Its text tells the sender about its own bytes.
func receiveError(err error) *connect.Error {
	code := connect.CodeOf(err)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return truncatedBody.errorf("the request body ends before the message does").WithCause(err)
	case errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded):
		return slowBody.errorf("the request body did not arrive in time").WithCause(err)
	case code == connect.CodeDeadlineExceeded:
		return callerTimeout.errorf("the deadline passed before the request was read").WithCause(err)
	case code == connect.CodeCanceled:
		return callerGone.errorf("the caller is gone").WithCause(err)
	case code == connect.CodeResourceExhausted:
		return tooLarge.errorf("%s", messageOf(err)).WithCause(err)
	}
	return badBody.errorf("%s", messageOf(err)).WithCause(err)
}

// aboutRequest reports whether an error without details is one that Connect made
// while it read the request.
func aboutRequest(code connect.Code) bool {
	switch code {
	case connect.CodeInvalidArgument, connect.CodeResourceExhausted, connect.CodeUnknown, connect.CodeInternal,
		connect.CodeCanceled, connect.CodeDeadlineExceeded:
		return true
	default:
		return false
	}
}

func messageOf(err error) string {
	if wire, ok := errors.AsType[*connect.Error](err); ok {
		return wire.Message()
	}
	return "the request body cannot be read"
}

// verdict makes what a caller sees of an error. Errors made for callers pass as
// they are; of any other the caller learns only an id, by which the log has it.
func verdict(ctx context.Context, log *slog.Logger, procedure string, err error) error {
	if wire, ok := errors.AsType[*connect.Error](err); ok && !wire.IsRemote() {
		if len(wire.Details()) == 0 && aboutRequest(wire.Code()) {
			return receiveError(err)
		}
		return wire
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		kind := callerGone
		if errors.Is(err, context.DeadlineExceeded) {
			kind = callerTimeout
		}
		wire := connect.NewError(kind.code, "the call ended before its answer").WithCause(err)
		wire = withDetail(wire, &errdetails.ErrorInfo{Reason: kind.reason, Domain: errorDomain})
		return withDetail(wire, &troupev1.Outcome{Outcome: troupev1.Outcome_OUTCOME_UNKNOWN})
	}
	return internalError(ctx, log, procedure, err, slog.Attr{})
}

// internalError logs err under a fresh id and returns an error that names only the
// id.
func internalError(ctx context.Context, log *slog.Logger, procedure string, err error, extra slog.Attr) *connect.Error {
	id := rand.Text()
	log.LogAttrs(ctx, slog.LevelError, "a call failed inside the server",
		slog.String("correlation_id", id), slog.String("procedure", procedure), slog.Any("error", err), extra)
	wire := connect.Errorf(connect.CodeInternal, "internal error %s", id).WithCause(err)
	wire = withDetail(wire, &errdetails.ErrorInfo{Reason: "internal", Domain: errorDomain})
	return withDetail(wire, &troupev1.Outcome{Outcome: troupev1.Outcome_OUTCOME_UNKNOWN, CorrelationId: id})
}
