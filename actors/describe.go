// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"errors"
	"fmt"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// describe reads the schema of an actor type from the descriptors that its
// generated registration carries, and checks it against the Go code.
func (t *actorType) describe(probe *connect.Server, actor Instance, options []Option) error {
	service, err := serviceOf(probe)
	if err != nil {
		return fmt.Errorf("%s: %w", t.goType, err)
	}
	t.name = string(service.FullName())
	declared, ok := proto.GetExtension(service.Options(), troupev1.E_Actor).(*troupev1.ActorOptions)
	if !ok || declared == nil {
		return fmt.Errorf("%s is not an actor: add `option (troupe.v1.actor) = {…}` to the service", t.name)
	}
	var errs []error
	resolve := func(option, name string) protoreflect.MessageType {
		mt, err := messageNamed(service, option, name)
		if err != nil {
			errs = append(errs, err)
		}
		return mt
	}
	t.stateType = resolve("state", declared.GetState())
	t.stateMaps = t.stateType != nil && holdsMap(t.stateType.Descriptor(), make(map[protoreflect.FullName]bool))
	t.inputType = resolve("input", declared.GetInput())
	t.connType = resolve("conn_state", declared.GetConnState())

	for spec := range probe.Specs() {
		m, err := t.describeMethod(spec, len(t.methods))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		t.methods = append(t.methods, m)
	}
	if t.connType != nil && t.eventType == nil {
		errs = append(errs, fmt.Errorf("%s declares a conn_state but no subscription: mark the RPC that opens connections with `option (troupe.v1.action) = {subscription: true}`", t.name))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t.limits = defaultLimits()
	errs = append(errs, t.applySchema(declared))
	if err := t.limits.events.declare(declared.GetEvents()); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", t.name, err))
	}
	for _, option := range options {
		if err := option.apply(t); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.name, err))
		}
	}
	errs = append(errs, t.arrangeMigrations())
	t.hasConn = t.hooks.beforeConnect != nil || t.hooks.createConnState != nil
	return errors.Join(append(errs, t.validate(actor))...)
}

func serviceOf(probe *connect.Server) (protoreflect.ServiceDescriptor, error) {
	for spec := range probe.Specs() {
		method, ok := spec.Schema.(protoreflect.MethodDescriptor)
		if !ok {
			return nil, fmt.Errorf("%s has no protobuf schema: register with code made by protoc-gen-connect-go", spec.Procedure)
		}
		service, ok := method.Parent().(protoreflect.ServiceDescriptor)
		if !ok {
			return nil, fmt.Errorf("%s has no service", spec.Procedure)
		}
		return service, nil
	}
	return nil, errors.New("its service has no RPC: an actor needs at least one")
}

func (t *actorType) describeMethod(spec connect.Spec, index int) (*Method, error) {
	md, ok := spec.Schema.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s has no protobuf schema", spec.Procedure)
	}
	input, err := protoregistry.GlobalTypes.FindMessageByName(md.Input().FullName())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Procedure, err)
	}
	output, err := protoregistry.GlobalTypes.FindMessageByName(md.Output().FullName())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Procedure, err)
	}
	m := &Method{
		Spec:     spec,
		Type:     t.name,
		ReadOnly: spec.IdempotencyLevel == connect.IdempotencyNoSideEffects,
		owner:    t,
		index:    index,
		input:    input,
		output:   output,
	}
	if action, ok := proto.GetExtension(md.Options(), troupev1.E_Action).(*troupev1.ActionOptions); ok && action != nil {
		m.Internal, m.Subscription = action.GetInternal(), action.GetSubscription()
		if m.timeout, err = methodTimeout(spec, action); err != nil {
			return nil, err
		}
	}
	switch {
	case m.Subscription && spec.StreamType != connect.StreamTypeServer:
		return nil, fmt.Errorf("%s is marked as the subscription and must return a stream: write `returns (stream %s)`", spec.Procedure, md.Output().Name())
	case m.Subscription && m.Internal:
		return nil, fmt.Errorf("%s is marked as the subscription and as internal: remove one", spec.Procedure)
	case m.Subscription && t.eventType != nil:
		return nil, fmt.Errorf("%s is the second subscription of %s: an actor has one", spec.Procedure, t.name)
	case m.Subscription:
		union, err := newEventUnion(output)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", spec.Procedure, err)
		}
		t.eventType, t.events = output, union
	case spec.StreamType != connect.StreamTypeUnary && spec.StreamType != connect.StreamTypeServer:
		return nil, fmt.Errorf("%s takes a stream of requests: an action takes one; remove `stream` from its request", spec.Procedure)
	}
	return m, nil
}

// holdsMap reports whether a message, or one within it, has a map.
func holdsMap(message protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if seen[message.FullName()] {
		return false
	}
	seen[message.FullName()] = true
	for n := range message.Fields().Len() {
		field := message.Fields().Get(n)
		if field.IsMap() || field.Message() != nil && holdsMap(field.Message(), seen) {
			return true
		}
	}
	return false
}
