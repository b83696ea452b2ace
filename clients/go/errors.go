// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
)

// ErrGap is yielded by [Events] when the server could not resume where the
// subscription had stopped: events between were missed. It is the one error after
// which the iteration goes on. It comes when the next stream is open, so a consumer
// that keeps a copy of the actor's state reads it anew then and misses nothing.
var ErrGap = errors.New("troupe: events were missed")

// ClosedError ends [Events] when the server closed the stream for good.
type ClosedError struct {
	// Reason is why.
	Reason troupev1.CloseReason
	// Code is why the actor ended the connection, for programs; may be empty.
	Code string
	// Message is for people; may be empty.
	Message string
}

// Error says why the server closed the stream.
func (e *ClosedError) Error() string {
	text := fmt.Sprintf("troupe: the server closed the stream: %s", e.Reason)
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Reason returns the short constant that says what went wrong: the reason that the
// actor's author gave, or one of the server's own. Empty if err has none.
func Reason(err error) string {
	info, _ := detail[*errdetails.ErrorInfo](err)
	return info.GetReason()
}

// Metadata returns the pairs that the actor's author added to an error. Nil if
// there are none.
func Metadata(err error) map[string]string {
	info, _ := detail[*errdetails.ErrorInfo](err)
	return info.GetMetadata()
}

// OutcomeOf returns what became of a failed call's effects on the actor. It is
// OUTCOME_UNKNOWN for an error that does not say, such as a lost connection, and
// OUTCOME_COMMITTED for nil.
func OutcomeOf(err error) troupev1.Outcome_Outcome {
	if err == nil {
		return troupev1.Outcome_OUTCOME_COMMITTED
	}
	outcome, _ := detail[*troupev1.Outcome](err)
	switch known := outcome.GetOutcome(); known {
	case troupev1.Outcome_OUTCOME_NOT_EXECUTED, troupev1.Outcome_OUTCOME_COMMITTED:
		return known
	default:
		return troupev1.Outcome_OUTCOME_UNKNOWN
	}
}

// CorrelationID returns what finds an internal error in the server's log. Empty if
// err has none.
func CorrelationID(err error) string {
	outcome, _ := detail[*troupev1.Outcome](err)
	return outcome.GetCorrelationId()
}

// RetryDelay returns how long the server asks to wait before the same call is made
// again, and whether it asks for one at all.
func RetryDelay(err error) (time.Duration, bool) {
	info, ok := detail[*errdetails.RetryInfo](err)
	if !ok {
		return 0, false
	}
	return max(0, info.GetRetryDelay().AsDuration()), true
}

// detail returns the first detail of type M.
func detail[M proto.Message](err error) (M, bool) {
	var none M
	wire, ok := errors.AsType[*connect.Error](err)
	if !ok || wire == nil {
		return none, false
	}
	want := string(none.ProtoReflect().Descriptor().FullName())
	for _, d := range wire.Details() {
		if d.Type != want {
			continue
		}
		message, ok := none.ProtoReflect().New().Interface().(M)
		if ok && proto.Unmarshal(d.Value, message) == nil {
			return message, true
		}
	}
	return none, false
}

// doubted returns err, which tells about the last attempt of a call, as that of the
// whole call: an attempt before may have had its effect.
func doubted(err error) error {
	wire, ok := errors.AsType[*connect.Error](err)
	if !ok || OutcomeOf(err) != troupev1.Outcome_OUTCOME_NOT_EXECUTED {
		return err
	}
	whole := connect.NewError(wire.Code(), wire.Message()).WithCause(err)
	said := string(new(troupev1.Outcome).ProtoReflect().Descriptor().FullName())
	for _, d := range wire.Details() {
		if d.Type != said {
			whole = whole.WithDetail(d)
		}
	}
	whole = withDetail(whole, &troupev1.Outcome{Outcome: troupev1.Outcome_OUTCOME_UNKNOWN})
	if wire.IsRemote() {
		whole = whole.WithRemote()
	}
	return whole
}

// localErrorf returns the invalid_argument error of a call that is not sent.
func localErrorf(format string, args ...any) *connect.Error {
	return notSent(connect.NewError(connect.CodeInvalidArgument, fmt.Sprintf(format, args...)))
}

// notSent says in err that its call was not executed.
func notSent(err *connect.Error) *connect.Error {
	return withDetail(err, &troupev1.Outcome{Outcome: troupev1.Outcome_OUTCOME_NOT_EXECUTED})
}

func withDetail(err *connect.Error, message proto.Message) *connect.Error {
	d, marshalErr := connectproto.NewErrorDetail(message)
	if marshalErr != nil { // these messages always marshal
		return err
	}
	return err.WithDetail(d)
}
