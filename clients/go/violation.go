// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"errors"
	"strconv"
	"strings"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// violationsType is the detail that a validation failure carries. It is read by
// reflection: the client needs no validation library.
const violationsType = "buf.validate.Violations"

// Violation is one rule of the schema that a request broke.
type Violation struct {
	// Field is the path of the field, such as "members[2].name". Empty if the
	// whole message broke the rule.
	Field string
	// Rule is the rule's id, such as "string.min_len".
	Rule string
	// Message is for people.
	Message string
}

// String returns "field: message".
func (v Violation) String() string {
	if v.Field == "" {
		return v.Message
	}
	return v.Field + ": " + v.Message
}

// Violations returns the rules that the request broke, if err is an
// invalid_argument that names them.
func Violations(err error) []Violation {
	wire, ok := errors.AsType[*connect.Error](err)
	if !ok || wire == nil {
		return nil
	}
	var violations []Violation
	for _, d := range wire.Details() {
		if d.Type != violationsType {
			continue
		}
		message, err := connectproto.UnmarshalErrorDetail(d)
		if err != nil {
			continue
		}
		for v := range messages(message.ProtoReflect(), "violations") {
			violations = append(violations, Violation{
				Field:   fieldPath(v),
				Rule:    text(v, "rule_id"),
				Message: text(v, "message"),
			})
		}
	}
	return violations
}

// fieldPath writes a buf.validate.FieldPath as people do.
func fieldPath(violation protoreflect.Message) string {
	field := violation.Descriptor().Fields().ByName("field")
	if field == nil || !violation.Has(field) {
		return ""
	}
	var b strings.Builder
	for element := range messages(violation.Get(field).Message(), "elements") {
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(text(element, "field_name"))
		oneof := element.Descriptor().Oneofs().ByName("subscript")
		if oneof == nil {
			continue
		}
		if subscript := element.WhichOneof(oneof); subscript != nil {
			b.WriteByte('[')
			if value := element.Get(subscript); subscript.Kind() == protoreflect.StringKind {
				b.WriteString(strconv.Quote(value.String()))
			} else {
				b.WriteString(value.String())
			}
			b.WriteByte(']')
		}
	}
	return b.String()
}

// messages yields the messages of a repeated field.
func messages(m protoreflect.Message, name protoreflect.Name) func(yield func(protoreflect.Message) bool) {
	return func(yield func(protoreflect.Message) bool) {
		field := m.Descriptor().Fields().ByName(name)
		if field == nil || !field.IsList() || field.Message() == nil {
			return
		}
		list := m.Get(field).List()
		for i := range list.Len() {
			if !yield(list.Get(i).Message()) {
				return
			}
		}
	}
}

func text(m protoreflect.Message, name protoreflect.Name) string {
	field := m.Descriptor().Fields().ByName(name)
	if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
		return ""
	}
	return m.Get(field).String()
}
