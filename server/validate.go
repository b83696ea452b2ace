// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// maxViolations bounds how many violations an error lists.
const maxViolations = 20

// validator checks messages against the rules of their schemas. It is safe for
// concurrent use.
type validator struct {
	rules protovalidate.Validator
}

func newValidator() (*validator, error) {
	rules, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("prepare validation: %w", err)
	}
	return &validator{rules: rules}, nil
}

// compile compiles the rules of every message that the services can be sent, so
// that a rule that does not compile stops the start and no first call is slow.
func (v *validator) compile(services []protoreflect.ServiceDescriptor) error {
	seen := make(map[protoreflect.FullName]bool)
	var errs []error
	for _, service := range services {
		methods := service.Methods()
		for i := range methods.Len() {
			errs = append(errs, v.compileMessage(methods.Get(i).Input(), seen))
		}
		if input := inputOf(service); input != nil {
			errs = append(errs, v.compileMessage(input, seen))
		}
	}
	return errors.Join(errs...)
}

func (v *validator) compileMessage(message protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) error {
	if seen[message.FullName()] {
		return nil
	}
	seen[message.FullName()] = true
	var errs []error
	if err := v.rules.Validate(dynamicpb.NewMessage(message)); err != nil {
		if broken, ok := errors.AsType[*protovalidate.CompilationError](err); ok {
			errs = append(errs, fmt.Errorf("validation rules of %s: %w", message.FullName(), broken))
		}
	}
	fields := message.Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.IsMap() {
			field = field.MapValue()
		}
		if nested := field.Message(); nested != nil {
			errs = append(errs, v.compileMessage(nested, seen))
		}
	}
	return errors.Join(errs...)
}

// check returns nil or a *[connect.Error] for the caller that names what is wrong
// with message. It repeats rules and field names, never values.
func (v *validator) check(message proto.Message) error {
	err := v.rules.Validate(message)
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return fmt.Errorf("validate %s: %w", message.ProtoReflect().Descriptor().FullName(), err)
	}
	violations := make([]*validate.Violation, 0, min(len(invalid.Violations), maxViolations))
	var text strings.Builder
	for i, violation := range invalid.Violations {
		if i == maxViolations {
			fmt.Fprintf(&text, "; and %d more", len(invalid.Violations)-i)
			break
		}
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(violation.String())
		violations = append(violations, violation.Proto)
	}
	wire := invalidMessage.errorf("invalid %s: %s", message.ProtoReflect().Descriptor().Name(), text.String())
	return withDetail(wire, validate.Violations_builder{Violations: violations}.Build())
}
