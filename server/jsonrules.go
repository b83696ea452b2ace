// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ruleKeywords are the rules of a schema that JSON schema can express, by the names
// that they have in buf.validate.
var ruleKeywords = map[protoreflect.Name]string{
	"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern",
	"min_items": "minItems", "max_items": "maxItems", "unique": "uniqueItems",
	"min_pairs": "minProperties", "max_pairs": "maxProperties",
	"gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum",
}

// applyRules puts the validation rules of a request's field into its schema, as far as
// JSON schema can express them, and reports whether the field is required. The server
// checks all of them.
func applyRules(schema object, field protoreflect.FieldDescriptor) (required bool) {
	rules, err := protovalidate.ResolveFieldRules(field)
	if err != nil || rules == nil {
		return false // rules that cannot be read stop the start elsewhere
	}
	if rules.GetIgnore() == 0 && schema["$ref"] == nil {
		applyKeywords(schema, rules.ProtoReflect())
	}
	return rules.GetRequired()
}

// applyKeywords takes the rules that depend on the field's type.
func applyKeywords(schema object, rules protoreflect.Message) {
	typed := rules.WhichOneof(rules.Descriptor().Oneofs().ByName("type"))
	if typed == nil {
		return
	}
	of := typed.Name()
	numeric := strings.Contains(string(of), "int") || strings.Contains(string(of), "fixed")
	if of != "string" && of != "repeated" && of != "map" && !numeric || strings.HasSuffix(string(of), "64") {
		return // bytes are text here, 64-bit integers may be, and floats have words
	}
	rules.Get(typed).Message().Range(func(rule protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		keyword := ruleKeywords[rule.Name()]
		if keyword == "" {
			return true
		}
		delete(schema, loosened[keyword])
		schema[keyword] = value.Interface()
		return true
	})
}

// loosened are the bounds of a type that an exclusive bound replaces.
var loosened = map[string]string{"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
