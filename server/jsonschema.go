// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"math"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

type idempotencyLevel = descriptorpb.MethodOptions_IdempotencyLevel

// jsonSchemas makes JSON schemas of messages, by protobuf's JSON mapping. What it
// accepts of 64-bit integers and enums is what a request may have; in a reply the
// former are always text.
type jsonSchemas struct {
	all     object
	replies map[protoreflect.FullName]bool // messages that replies hold, to which no rules apply
}

func newJSONSchemas(services []protoreflect.ServiceDescriptor) *jsonSchemas {
	s := &jsonSchemas{all: object{}, replies: make(map[protoreflect.FullName]bool)}
	for _, service := range services {
		for i := range service.Methods().Len() {
			s.markReply(service.Methods().Get(i).Output())
		}
	}
	return s
}

func (s *jsonSchemas) markReply(message protoreflect.MessageDescriptor) {
	if s.replies[message.FullName()] {
		return
	}
	s.replies[message.FullName()] = true
	for i := range message.Fields().Len() {
		if inner := message.Fields().Get(i).Message(); inner != nil {
			s.markReply(inner)
		}
	}
}

// reference returns a schema of a message, which is a component from then on.
func (s *jsonSchemas) reference(message protoreflect.MessageDescriptor) object {
	if known, ok := wellKnown(message.FullName()); ok {
		return known
	}
	name := string(message.FullName())
	if s.all[name] == nil {
		schema := object{"type": "object"}
		s.all[name] = schema // before its fields: messages may hold themselves
		s.fill(schema, message)
	}
	return reference("schemas", name)
}

func (s *jsonSchemas) fill(schema object, message protoreflect.MessageDescriptor) {
	properties := object{}
	var required []string
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		property := s.property(field)
		if !s.replies[message.FullName()] && applyRules(property, field) {
			required = append(required, field.JSONName())
		}
		properties[field.JSONName()] = property
	}
	if len(properties) > 0 {
		schema["properties"] = properties
	}
	if required != nil {
		schema["required"] = required
	}
	var groups []any
	for i := range message.Oneofs().Len() {
		if oneof := message.Oneofs().Get(i); !oneof.IsSynthetic() && oneof.Fields().Len() > 1 {
			groups = append(groups, atMostOne(oneof))
		}
	}
	if groups != nil {
		schema["allOf"] = groups
	}
}

// atMostOne is the schema of a oneof.
func atMostOne(oneof protoreflect.OneofDescriptor) object {
	var each []any
	for i := range oneof.Fields().Len() {
		each = append(each, object{"required": []string{oneof.Fields().Get(i).JSONName()}})
	}
	return object{"oneOf": append(each, object{"not": object{"anyOf": each}})}
}

func (s *jsonSchemas) property(field protoreflect.FieldDescriptor) object {
	switch {
	case field.IsMap():
		return object{"type": "object", "additionalProperties": s.value(field.MapValue())}
	case field.IsList():
		return object{"type": "array", "items": s.value(field)}
	}
	return s.value(field)
}

// value is the schema of one value of a field.
func (s *jsonSchemas) value(field protoreflect.FieldDescriptor) object {
	if field.Message() != nil {
		return s.reference(field.Message())
	}
	if field.Enum() != nil {
		return s.enum(field.Enum())
	}
	return scalar(field.Kind())
}

func (s *jsonSchemas) enum(enum protoreflect.EnumDescriptor) object {
	if enum.FullName() == "google.protobuf.NullValue" {
		return object{"type": "null"}
	}
	name := string(enum.FullName())
	if s.all[name] == nil {
		var values []string
		for i := range enum.Values().Len() {
			values = append(values, string(enum.Values().Get(i).Name()))
		}
		s.all[name] = object{"anyOf": []any{object{"type": "string", "enum": values}, integer(math.MinInt32, math.MaxInt32)}}
	}
	return reference("schemas", name)
}

func integer(lowest, highest int64) object {
	return object{"type": "integer", "minimum": lowest, "maximum": highest}
}

func scalar(kind protoreflect.Kind) object {
	switch kind {
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return integer(math.MinInt32, math.MaxInt32)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return integer(0, math.MaxUint32)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return object{"type": []string{"string", "integer"}, "pattern": "^-?[0-9]+$"}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return object{"type": []string{"string", "integer"}, "pattern": "^[0-9]+$"}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return object{"anyOf": []any{object{"type": "number"}, object{"enum": []string{"NaN", "Infinity", "-Infinity"}}}}
	case protoreflect.BytesKind:
		return object{"type": "string", "contentEncoding": "base64"}
	default:
		return object{"type": "string"}
	}
}

// wellKnown is the schema of a message that has a JSON form of its own.
func wellKnown(name protoreflect.FullName) (object, bool) {
	switch name {
	case "google.protobuf.Timestamp":
		return object{"type": "string", "format": "date-time"}, true
	case "google.protobuf.Duration":
		return object{"type": "string", "pattern": `^-?[0-9]+(\.[0-9]{1,9})?s$`}, true
	case "google.protobuf.FieldMask":
		return object{"type": "string"}, true
	case "google.protobuf.Any":
		return object{"type": "object", "properties": object{"@type": object{"type": "string"}}}, true
	case "google.protobuf.Struct":
		return object{"type": "object"}, true
	case "google.protobuf.ListValue":
		return object{"type": "array"}, true
	case "google.protobuf.Value":
		return object{}, true
	}
	wrapped := map[protoreflect.FullName]protoreflect.Kind{
		"google.protobuf.BoolValue": protoreflect.BoolKind, "google.protobuf.StringValue": protoreflect.StringKind,
		"google.protobuf.BytesValue": protoreflect.BytesKind, "google.protobuf.DoubleValue": protoreflect.DoubleKind,
		"google.protobuf.FloatValue": protoreflect.FloatKind, "google.protobuf.Int32Value": protoreflect.Int32Kind,
		"google.protobuf.UInt32Value": protoreflect.Uint32Kind, "google.protobuf.Int64Value": protoreflect.Int64Kind,
		"google.protobuf.UInt64Value": protoreflect.Uint64Kind,
	}
	kind, ok := wrapped[name]
	if !ok {
		return nil, false
	}
	return object{"anyOf": []any{scalar(kind), object{"type": "null"}}}, true
}
