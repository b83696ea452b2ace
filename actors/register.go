// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Registry holds actor types. Registering is for start-up and must not run beside
// anything else. What is wrong with a registration is reported by [NewHost].
type Registry struct {
	types []*actorType
	errs  []error
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return new(Registry) }

// Instance is implemented by embedding [Actor].
type Instance interface {
	bind(*body)
	messages() (state, event protoreflect.MessageType)
}

// Register adds an actor type. The first function is the generated
// Register…Handler of the actor's service, which names the type; newActor returns
// a fresh value of the author's struct, which must implement that handler and
// embed [Actor]. It is called each time an actor wakes.
func Register[H any, A Instance](r *Registry, register func(*connect.Server, H), newActor func() A, options ...Option) {
	actor := any(newActor())
	if _, ok := actor.(H); !ok {
		r.errs = append(r.errs, fmt.Errorf("%T is not a %s: %s", actor, reflect.TypeFor[H](), missingMethods(actor, reflect.TypeFor[H]())))
		return
	}
	t := &actorType{
		goType: reflect.TypeFor[A](),
		build: func() (Instance, []connect.ServerFunc) {
			a := newActor()
			return a, capture(func(s *connect.Server) { register(s, any(a).(H)) }) //nolint:forcetypeassert // checked above
		},
	}
	probe := connect.NewServer()
	register(probe, actor.(H))                                           //nolint:forcetypeassert // checked above
	if err := t.describe(probe, actor.(Instance), options); err != nil { //nolint:forcetypeassert // A is an Instance
		r.errs = append(r.errs, err)
		return
	}
	for _, other := range r.types {
		if other.name == t.name {
			r.errs = append(r.errs, fmt.Errorf("%s is registered twice, by %s and %s: keep one", t.name, other.goType, t.goType))
			return
		}
	}
	r.types = append(r.types, t)
}

// capture runs a generated registration and returns the handlers it made, in its
// order. A generated handler is bound to one instance; keeping the functions and
// not the server that they were registered on makes an idle actor small.
func capture(register func(*connect.Server)) []connect.ServerFunc {
	handlers := make([]connect.ServerFunc, 0, 8)
	register(connect.NewServer(func(next connect.ServerFunc) connect.ServerFunc {
		handlers = append(handlers, next)
		return next
	}))
	return handlers
}

func missingMethods(actor any, want reflect.Type) string {
	if want.Kind() != reflect.Interface {
		return "register with the generated Register…Handler function"
	}
	have := reflect.TypeOf(actor)
	var missing []string
	for method := range want.Methods() {
		name := method.Name
		if m, ok := have.MethodByName(name); !ok {
			missing = append(missing, "it has no method "+name)
		} else if got := dropReceiver(m.Type); got != method.Type.String() {
			missing = append(missing, fmt.Sprintf("its method %s is %s and must be %s", name, got, method.Type))
		}
	}
	return strings.Join(missing, "; ") + " (embed the generated Unimplemented…Handler for the methods you leave out)"
}

func dropReceiver(method reflect.Type) string {
	in := make([]reflect.Type, 0, method.NumIn())
	for i := 1; i < method.NumIn(); i++ {
		in = append(in, method.In(i))
	}
	out := make([]reflect.Type, 0, method.NumOut())
	for out0 := range method.Outs() {
		out = append(out, out0)
	}
	return reflect.FuncOf(in, out, method.IsVariadic()).String()
}

// actorType is one registered type.
type actorType struct {
	name    string
	goType  reflect.Type
	build   func() (Instance, []connect.ServerFunc)
	methods []*Method

	stateType protoreflect.MessageType // nil without a state
	inputType protoreflect.MessageType // nil without an input
	connType  protoreflect.MessageType // nil without a connection state
	eventType protoreflect.MessageType // nil without a subscription
	stateMaps bool                     // the state holds maps, which are encoded in any order unless told
	events    *eventUnion              // nil without a subscription

	migrations      []migration
	explicitVersion *uint32
	stateVersion    uint32 // what the code writes

	crashPolicy CrashAction

	hooks   hooks
	limits  limits
	hasConn bool // some hook runs for calls outside a connection
}

// limits bounds what one actor of a type may take.
type limits struct {
	sleepAfter     time.Duration
	actionTimeout  time.Duration
	mailbox        int
	rows           RowLimits
	mailboxBytes   int
	mailboxAge     time.Duration
	stateBytes     int
	storageBytes   int64
	replyRetention time.Duration
	replyRecords   int
	undurable      int
	streamTimeout  time.Duration
	waitUntil      time.Duration
	hooks          HookTimeouts
	connections    int
	eventLimits
}

// defaultLimits are the defaults of every type.
func defaultLimits() limits {
	return limits{
		sleepAfter:     30 * time.Second,
		actionTimeout:  60 * time.Second,
		mailbox:        256,
		rows:           defaultRowLimits(),
		mailboxBytes:   8 << 20,
		mailboxAge:     10 * time.Second,
		stateBytes:     1 << 20,
		storageBytes:   1 << 30,
		replyRetention: 24 * time.Hour,
		replyRecords:   10_000,
		undurable:      defaultUndurable,
		streamTimeout:  time.Hour,
		waitUntil:      15 * time.Second,
		hooks:          defaultHookTimeouts(),
		connections:    defaultMaxConnections,
		eventLimits:    defaultEventLimits(),
	}
}

func (t *actorType) validate(actor Instance) error {
	state, event := actor.messages()
	return errors.Join(
		t.checkMessage("State", "state", state, t.stateType),
		t.checkMessage("Event", "subscription response", event, t.eventType),
	)
}

// checkMessage compares a type argument of the embedded Actor with the schema.
func (t *actorType) checkMessage(parameter, option string, got, want protoreflect.MessageType) error {
	switch {
	case got == nil && want == nil:
		return nil
	case want == nil:
		return fmt.Errorf("%s: %s embeds an Actor whose %s is %s, but the service declares no %s: declare it or use actors.No%s",
			t.name, t.goType, parameter, got.Descriptor().FullName(), option, parameter)
	case got == nil:
		return fmt.Errorf("%s: %s embeds an Actor without %s, but the service declares the %s %s: use its Go type",
			t.name, t.goType, parameter, option, want.Descriptor().FullName())
	case got.Descriptor().FullName() != want.Descriptor().FullName():
		return fmt.Errorf("%s: %s embeds an Actor whose %s is %s, but the %s in the service is %s: make them the same",
			t.name, t.goType, parameter, got.Descriptor().FullName(), option, want.Descriptor().FullName())
	}
	return nil
}

// messageNamed resolves a message name of an option as a .proto file would.
func messageNamed(service protoreflect.ServiceDescriptor, option, name string) (protoreflect.MessageType, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // an option that was left out
	}
	for scope := service.FullName().Parent(); ; scope = scope.Parent() {
		full := protoreflect.FullName(strings.TrimPrefix(name, "."))
		if scope != "" && !strings.HasPrefix(name, ".") {
			full = protoreflect.FullName(string(scope) + "." + name)
		}
		if mt, err := protoregistry.GlobalTypes.FindMessageByName(full); err == nil {
			return mt, nil
		}
		if scope == "" {
			return nil, fmt.Errorf("%s: option (troupe.v1.actor).%s names the message %q, which is neither in package %s nor a full name that this program links in",
				service.FullName(), option, name, service.FullName().Parent())
		}
	}
}

func newMessage(mt protoreflect.MessageType) proto.Message { return mt.New().Interface() }
