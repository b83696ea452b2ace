// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"strings"

	"github.com/troupe-dev/troupe/actors"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// servicesOf returns the services that methods belong to, each once.
func servicesOf(methods []*actors.Method) []protoreflect.ServiceDescriptor {
	var services []protoreflect.ServiceDescriptor
	seen := make(map[protoreflect.FullName]bool)
	for _, m := range methods {
		schema, ok := m.Spec.Schema.(protoreflect.MethodDescriptor)
		if !ok {
			continue
		}
		service, ok := schema.Parent().(protoreflect.ServiceDescriptor)
		if ok && !seen[service.FullName()] {
			seen[service.FullName()] = true
			services = append(services, service)
		}
	}
	return services
}

// inputOf returns the message that an actor type is created with, or nil.
func inputOf(service protoreflect.ServiceDescriptor) protoreflect.MessageDescriptor {
	options, _ := proto.GetExtension(service.Options(), troupev1.E_Actor).(*troupev1.ActorOptions)
	name := options.GetInput()
	if name == "" {
		return nil
	}
	candidates := []string{string(service.ParentFile().Package()) + "." + name, name}
	if full, ok := strings.CutPrefix(name, "."); ok {
		candidates = []string{full}
	}
	for _, candidate := range candidates {
		if found, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(candidate)); err == nil {
			return found.Descriptor()
		}
	}
	return nil
}
