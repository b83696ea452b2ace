// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Option is an option of [Register]: a hook or a limit. A hook of the wrong shape
// does not compile; one of the wrong actor or message type stops the start.
type Option interface {
	apply(t *actorType) error
}

// hooks are an actor type's hooks; nil where the author has none.
type hooks struct {
	create          func(a Instance, ctx context.Context, input proto.Message) error
	wake            func(a Instance, ctx context.Context) error
	sleep           func(a Instance, ctx context.Context) error
	destroy         func(a Instance, ctx context.Context) error
	beforeConnect   func(ctx context.Context, attempt Attempt, params proto.Message) error
	createConnState func(a Instance, ctx context.Context, params proto.Message) (proto.Message, error)
	connect         func(a Instance, ctx context.Context, conn *Conn) error
	disconnect      func(a Instance, ctx context.Context, conn *Conn) error
	stateChange     func(a Instance, ctx context.Context) error
	beforeResponse  func(a Instance, ctx context.Context, method *Method, request, response proto.Message) error
}

// Attempt describes who is about to reach an actor, for [BeforeConnect].
type Attempt struct {
	// Namespace is the tenant.
	Namespace string
	// Key is the actor's key; nil when it is addressed by id.
	Key []string
	// Subject is who calls; empty is anonymous.
	Subject string
	// Internal says that another actor calls, or the program that runs the host:
	// nobody from outside.
	Internal bool
	// Header is the caller's metadata; nil if there is none.
	Header *connect.Header

	host *Host
}

type optionFunc func(t *actorType) error

func (f optionFunc) apply(t *actorType) error { return f(t) }

// OnCreate runs once, in the first turn of a new actor, to make its state out of
// its input. An error refuses the creation and leaves nothing. A creation without
// an input gets an empty message.
func OnCreate[A Instance, In proto.Message](hook func(a A, ctx context.Context, input In) error) Option {
	return optionFunc(func(t *actorType) error {
		if err := sameActor[A](t, "OnCreate"); err != nil {
			return err
		}
		if err := sameMessage[In](t.inputType, "OnCreate", "input", "option (troupe.v1.actor).input"); err != nil {
			return err
		}
		t.hooks.create = func(a Instance, ctx context.Context, input proto.Message) error {
			return hook(a.(A), ctx, input.(In)) //nolint:forcetypeassert // checked at registration
		}
		return nil
	})
}

// OnWake runs in a turn of its own each time the actor comes into memory, before
// anything else does, to set the fields that are not state. What it changes of
// the state is committed with the turn that follows. An actor that it destroys is
// gone before the call which woke it is served: by key, that call gets the next
// actor. If it fails, the actor is left alone for a while: see [StatusCrashed].
func OnWake[A Instance](hook func(a A, ctx context.Context) error) Option {
	return lifecycleHook("OnWake", hook, func(h *hooks) *func(Instance, context.Context) error { return &h.wake })
}

// OnSleep runs in a turn before the actor leaves memory because it is idle or the
// server stops. It does not run after a crash. An error is logged.
func OnSleep[A Instance](hook func(a A, ctx context.Context) error) Option {
	return lifecycleHook("OnSleep", hook, func(h *hooks) *func(Instance, context.Context) error { return &h.sleep })
}

// OnDestroy runs in the turn that destroys the actor. An error keeps it alive.
func OnDestroy[A Instance](hook func(a A, ctx context.Context) error) Option {
	return lifecycleHook("OnDestroy", hook, func(h *hooks) *func(Instance, context.Context) error { return &h.destroy })
}

func lifecycleHook[A Instance](name string, hook func(A, context.Context) error, slot func(*hooks) *func(Instance, context.Context) error) Option {
	return optionFunc(func(t *actorType) error {
		if err := sameActor[A](t, name); err != nil {
			return err
		}
		*slot(&t.hooks) = func(a Instance, ctx context.Context) error {
			return hook(a.(A), ctx) //nolint:forcetypeassert // checked at registration
		}
		return nil
	})
}

// BeforeConnect runs before a subscription is opened and before a call outside a
// connection, in no turn and without the actor, beside other calls; it may do I/O.
// An error refuses the caller before anything is created. Params is nil for a
// call that carries none.
func BeforeConnect[P proto.Message](hook func(ctx context.Context, attempt Attempt, params P) error) Option {
	return optionFunc(func(t *actorType) error {
		if err := sameParams[P](t, "BeforeConnect"); err != nil {
			return err
		}
		t.hooks.beforeConnect = func(ctx context.Context, attempt Attempt, params proto.Message) error {
			typed, _ := params.(P)
			return hook(ctx, attempt, typed)
		}
		return nil
	})
}

// CreateConnState makes the state of a connection out of its parameters, or that
// of a call outside a connection. It may read the actor's state and change
// nothing. An error refuses the caller. Params is nil for a call that carries
// none.
func CreateConnState[A Instance, P, C proto.Message](hook func(a A, ctx context.Context, params P) (C, error)) Option {
	return optionFunc(func(t *actorType) error {
		if err := sameActor[A](t, "CreateConnState"); err != nil {
			return err
		}
		if err := sameParams[P](t, "CreateConnState"); err != nil {
			return err
		}
		if err := sameMessage[C](t.connType, "CreateConnState", "result", "option (troupe.v1.actor).conn_state"); err != nil {
			return err
		}
		t.hooks.createConnState = func(a Instance, ctx context.Context, params proto.Message) (proto.Message, error) {
			typed, _ := params.(P)
			return hook(a.(A), ctx, typed) //nolint:forcetypeassert // checked at registration
		}
		return nil
	})
}

// OnConnect runs in the turn that opens a connection. What it sends to the
// connection comes before every other event: the place for a snapshot. An error
// refuses the connection and rolls the turn back.
func OnConnect[A Instance](hook func(a A, ctx context.Context, conn *Conn) error) Option {
	return connHook("OnConnect", hook, func(h *hooks) *func(Instance, context.Context, *Conn) error { return &h.connect })
}

// OnDisconnect runs in a turn after a connection ended, which is no longer among
// [Actor.Conns]. It runs at most once, and not after a crash. An error rolls the
// turn back and is logged.
func OnDisconnect[A Instance](hook func(a A, ctx context.Context, conn *Conn) error) Option {
	return connHook("OnDisconnect", hook, func(h *hooks) *func(Instance, context.Context, *Conn) error { return &h.disconnect })
}

func connHook[A Instance](name string, hook func(A, context.Context, *Conn) error, slot func(*hooks) *func(Instance, context.Context, *Conn) error) Option {
	return optionFunc(func(t *actorType) error {
		if err := sameActor[A](t, name); err != nil {
			return err
		}
		if t.eventType == nil {
			return fmt.Errorf("%s needs a subscription, and the service has none", name)
		}
		*slot(&t.hooks) = func(a Instance, ctx context.Context, conn *Conn) error {
			return hook(a.(A), ctx, conn) //nolint:forcetypeassert // checked at registration
		}
		return nil
	})
}

// SleepAfter is how long an actor stays in memory without a call. Default 30 s.
// Open connections do not keep it awake. See [NoSleep].
func SleepAfter(d time.Duration) Option {
	return positive("SleepAfter", d, func(l *limits) { l.sleepAfter = d })
}

// ActionTimeout bounds a turn, whatever deadline its caller set. Default 60 s, at
// most 300 s. An RPC's own option (troupe.v1.action).timeout goes before it.
func ActionTimeout(d time.Duration) Option {
	return optionFunc(func(t *actorType) error {
		if d <= 0 || d > 300*time.Second {
			return fmt.Errorf("ActionTimeout(%s) must be positive and at most 300s", d)
		}
		t.limits.actionTimeout = d
		return nil
	})
}

// MailboxSize is how many calls may wait for an actor's turn. Default 256. One
// more is refused with resource_exhausted.
func MailboxSize(n int) Option {
	return positive("MailboxSize", n, func(l *limits) { l.mailbox = n })
}

// MaxStateBytes bounds the encoded state. Default 1 MiB, at most 16 MiB. A turn
// that exceeds it fails with resource_exhausted.
func MaxStateBytes(n int) Option {
	return optionFunc(func(t *actorType) error {
		if n <= 0 || n > 16<<20 {
			return fmt.Errorf("MaxStateBytes(%d) must be positive and at most 16 MiB", n)
		}
		t.limits.stateBytes = n
		return nil
	})
}

func positive[N int | time.Duration](name string, n N, set func(*limits)) Option {
	return optionFunc(func(t *actorType) error {
		if n <= 0 {
			return fmt.Errorf("%s(%v) must be positive", name, n)
		}
		set(&t.limits)
		return nil
	})
}

func sameActor[A Instance](t *actorType, option string) error {
	if got := reflect.TypeFor[A](); got != t.goType {
		return fmt.Errorf("%s has a hook of %s, but the type is registered with %s: use its method", option, got, t.goType)
	}
	return nil
}

func sameParams[P proto.Message](t *actorType, option string) error {
	for _, m := range t.methods {
		if m.Subscription {
			return sameMessage[P](m.input, option, "params", "the request of "+m.Spec.Procedure)
		}
	}
	return fmt.Errorf("%s needs a subscription, and the service has none", option)
}

func sameMessage[M proto.Message](want protoreflect.MessageType, option, what, source string) error {
	got := reflect.TypeFor[M]()
	if want == nil {
		return fmt.Errorf("%s has the %s %s, but %s is not set: set it or remove the hook", option, what, got, source)
	}
	if have := reflect.TypeOf(newMessage(want)); got != have {
		return fmt.Errorf("%s has the %s %s, but %s is %s: use %s", option, what, got, source, want.Descriptor().FullName(), have)
	}
	return nil
}
