// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// OnStateChange runs at the end of a writing turn that has changed the state, in
// that turn: what the hook changes is a part of the turn and does not make it run
// again. The reply is made by then. An error fails the turn, as one of its action
// does. It does not run for what [OnCreate], [Migrate] and [OnWake] make of the
// state.
func OnStateChange[A Instance](hook func(a A, ctx context.Context) error) Option {
	return optionFunc(func(t *actorType) error {
		if err := sameActor[A](t, "OnStateChange"); err != nil {
			return err
		}
		if t.stateType == nil {
			return errors.New("OnStateChange needs a state, but option (troupe.v1.actor).state is not set: set it or remove the hook")
		}
		t.hooks.stateChange = func(a Instance, ctx context.Context) error {
			return hook(a.(A), ctx) //nolint:forcetypeassert // checked at registration
		}
		return nil
	})
}

// BeforeActionResponse runs after each unary action that went well and before its
// response is encoded, in the action's turn. It may change the response, and what
// the action may change. The request must not be changed. An error fails the action.
func BeforeActionResponse[A Instance](hook func(a A, ctx context.Context, method *Method, request, response proto.Message) error) Option {
	return optionFunc(func(t *actorType) error {
		if err := sameActor[A](t, "BeforeActionResponse"); err != nil {
			return err
		}
		t.hooks.beforeResponse = func(a Instance, ctx context.Context, method *Method, request, response proto.Message) error {
			return hook(a.(A), ctx, method, request, response) //nolint:forcetypeassert // checked at registration
		}
		return nil
	})
}

// Name returns the RPC's name without its service, such as "Increment".
func (m *Method) Name() string {
	procedure := m.Spec.Procedure
	for i := len(procedure) - 1; i >= 0; i-- {
		if procedure[i] == '/' {
			return procedure[i+1:]
		}
	}
	return procedure
}

// review has the stream of an action show its response to the hook first.
func (t *turn) review(b *body) {
	hook := b.inst.typ.hooks.beforeResponse
	if hook == nil {
		return
	}
	t.stream.review = func(request, response proto.Message) error {
		return t.within("before-action-response", b.inst.typ.limits.hooks.Action, func() error {
			return hook(b.actor, t, t.method, request, response)
		})
	}
}

// changedState runs the hook of a turn that has changed the state.
func (t *turn) changedState(b *body) error {
	hook := b.inst.typ.hooks.stateChange
	if hook == nil || b.record != nil {
		return nil
	}
	changed, err := b.differs()
	if err != nil || !changed {
		return err
	}
	return t.within("state-change", b.inst.typ.limits.hooks.Action, func() error { return hook(b.actor, t) })
}

// differs reports whether the state is another one than the newest turn left. Maps
// are encoded in any order, so that other bytes are not enough.
func (b *body) differs() (bool, error) {
	state, err := proto.Marshal(b.state)
	if err != nil {
		return false, fmt.Errorf("encode the state: %w", err)
	}
	if bytes.Equal(state, b.snapshot) {
		return false, nil
	}
	before := b.state.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(b.snapshot, before); err != nil {
		return false, fmt.Errorf("decode the state: %w", err)
	}
	return !proto.Equal(before, b.state), nil
}
