// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Migrate adds a step that brings a stored state from one version to the next. The
// steps of a type are in the order of its options: the first one reads version 0,
// the last one makes the version that the code writes, which is the number of steps
// unless [StateVersion] says otherwise. Old is the message that the older version
// was; New is the Old of the next step, and the type's state for the last one. With
// both the same, the step may change its argument and return it.
//
// The steps run when an actor wakes, before [OnWake], within [HookTimeouts].Migrate,
// and what they make is stored in the same commit as what OnWake changes. They see
// the state only. An error or a panic leaves the stored bytes as they are and
// quarantines the actor: see [StatusQuarantined].
//
// A new field needs no step: code that does not know it keeps it. A step is for
// what older code must not read; that code then refuses the actor with
// failed_precondition, reason state_too_new.
func Migrate[Old, New proto.Message](step func(ctx context.Context, old Old) (New, error)) Option {
	return optionFunc(func(t *actorType) error {
		if t.stateType == nil {
			return errors.New("Migrate needs a state, but option (troupe.v1.actor).state is not set: set it or remove the step")
		}
		t.migrations = append(t.migrations, migration{
			from: typeOfMessage[Old](),
			to:   reflect.TypeFor[New](),
			step: func(ctx context.Context, old proto.Message) (proto.Message, error) {
				made, err := step(ctx, old.(Old)) //nolint:forcetypeassert // decoded as one, or checked at registration
				return made, err
			},
		})
		return nil
	})
}

// StateVersion is the version of the state that the code writes, for a type that
// no longer has all of its [Migrate] steps: the last step makes it. A stored state
// from before the first step is quarantined.
func StateVersion(version uint32) Option {
	return optionFunc(func(t *actorType) error {
		if t.stateType == nil {
			return errors.New("StateVersion needs a state, but option (troupe.v1.actor).state is not set: set it or remove the option")
		}
		t.explicitVersion = &version
		return nil
	})
}

// migration is one step.
type migration struct {
	from protoreflect.MessageType
	to   reflect.Type
	step func(ctx context.Context, old proto.Message) (proto.Message, error)
}

func typeOfMessage[M proto.Message]() protoreflect.MessageType {
	var m M
	return m.ProtoReflect().Type()
}

// arrangeMigrations checks the steps and sets the version that the code writes.
func (t *actorType) arrangeMigrations() error {
	t.stateVersion = uint32(len(t.migrations))
	if v := t.explicitVersion; v != nil {
		if int64(*v) < int64(len(t.migrations)) {
			return fmt.Errorf("%s: StateVersion(%d) is less than the number of Migrate steps, %d: the last step makes that version", t.name, *v, len(t.migrations))
		}
		t.stateVersion = *v
	}
	for n, m := range t.migrations {
		want, next := reflect.TypeOf(newMessage(t.stateType)), "the state of the type"
		if n+1 < len(t.migrations) {
			want, next = reflect.TypeOf(newMessage(t.migrations[n+1].from)), "what the next step reads"
		}
		if m.to != want {
			return fmt.Errorf("%s: Migrate step %d makes %s, but %s is %s: make them the same", t.name, n+1, m.to, next, want)
		}
	}
	return nil
}

// decode makes a body's state of a record, through the steps that its version
// needs. migrated says that the stored one is older.
func (i *instance) decode(t *turn, b *body, record store.Record) (migrated bool, err error) {
	typ := i.typ
	switch {
	case b.state == nil:
		return false, nil
	case record.StateVersion < typ.stateVersion:
		return true, t.within("migrate", typ.limits.hooks.Migrate, func() error { return typ.migrate(t, b, record) })
	}
	if err := proto.Unmarshal(record.State, b.state); err != nil {
		return false, &unusableError{fmt.Errorf("decode the state: %w", err)}
	}
	b.snapshot = record.State
	return false, nil
}

func (t *actorType) migrate(ctx context.Context, b *body, record store.Record) error {
	skip := len(t.migrations) - int(t.stateVersion-record.StateVersion)
	if skip < 0 {
		return &unusableError{fmt.Errorf("the state has version %d, and the code migrates from %d on",
			record.StateVersion, int(t.stateVersion)-len(t.migrations))}
	}
	steps := t.migrations[skip:]
	state := newMessage(steps[0].from)
	if err := proto.Unmarshal(record.State, state); err != nil {
		return &unusableError{fmt.Errorf("decode the state of version %d: %w", record.StateVersion, err)}
	}
	for n, m := range steps {
		err := protect(func() (err error) { state, err = m.step(ctx, state); return err })
		switch version := record.StateVersion + uint32(n); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return &unusableError{fmt.Errorf("migrate the state from version %d: %w", version, err)}
		case !state.ProtoReflect().IsValid():
			return &unusableError{fmt.Errorf("migrate the state from version %d: the step made nil", version)}
		}
	}
	b.state, b.snapshot = state, record.State
	return nil
}
