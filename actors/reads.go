// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"bytes"
	"fmt"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
)

// read runs the code of a read-only turn. With [Config.CheckReads] it looks whether
// the code changed the state, which it shares with the turns beside it.
func (t *turn) read(b *body) error {
	if !b.inst.host.checks || b.state == nil {
		return t.run(t, b)
	}
	before, err := encodeSame(b.state)
	if err != nil {
		return err
	}
	failure := t.run(t, b)
	after, err := encodeSame(b.state)
	if err != nil {
		return err
	}
	if bytes.Equal(before, after) {
		return failure
	}
	what := "a read-only turn"
	if t.method != nil {
		what = t.method.Spec.Procedure
	}
	return &stateWrittenError{&refusalError{refusal(connect.CodeInternal, "read_only_write", notExecuted,
		"%s is read-only (NO_SIDE_EFFECTS) and the actor's state changed while it ran: a read-only action must not change State()", what)}}
}

// encodeSame encodes equal messages alike.
func encodeSame(message proto.Message) ([]byte, error) {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encode the state: %w", err)
	}
	return encoded, nil
}

// stateWrittenError fails a read-only turn that changed the state. The actor is
// read from the store again.
type stateWrittenError struct{ refused *refusalError }

func (e *stateWrittenError) Error() string { return e.refused.Error() }

func (e *stateWrittenError) Unwrap() error { return e.refused }

// spoiled reports whether an error leaves what the actor has in memory in doubt.
func spoiled(err error) bool {
	switch err.(type) { //nolint:errorlint // our own, never wrapped
	case *panicError, *stateWrittenError:
		return true
	}
	return false
}
