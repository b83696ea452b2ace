// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Serving states of grpc.health.v1.
const (
	healthServing    protoreflect.EnumNumber = 1
	healthNotServing protoreflect.EnumNumber = 2
	healthUnknown    protoreflect.EnumNumber = 3
)

const healthService = "grpc.health.v1.Health"

// health answers whether the server takes calls: grpc.health.v1, /healthz (the
// process lives) and /readyz (it takes calls).
type health struct {
	services map[string]bool
	draining chan struct{} // closed when the server begins to stop
	drain    func()

	lease *lease // nil on a server by itself
}

func newHealth() *health {
	draining := make(chan struct{})
	return &health{
		services: map[string]bool{"": true},
		draining: draining,
		drain:    sync.OnceFunc(func() { close(draining) }),
	}
}

// stopping reports whether the server has begun to stop.
func (h *health) stopping() bool {
	select {
	case <-h.draining:
		return true
	default:
		return false
	}
}

// ready returns why the server takes no calls; empty if it does.
func (h *health) ready(ctx context.Context) (reason string) {
	if h.stopping() {
		return "stopping"
	}
	if h.lease != nil && !h.lease.lasts(ctx) {
		return "not part of the cluster"
	}
	return ""
}

func (h *health) serveLive(w http.ResponseWriter, _ *http.Request) {
	answerText(w, http.StatusOK, "ok\n")
}

func (h *health) serveReady(w http.ResponseWriter, r *http.Request) {
	if reason := h.ready(r.Context()); reason != "" {
		answerText(w, http.StatusServiceUnavailable, reason+"\n")
		return
	}
	answerText(w, http.StatusOK, "ok\n")
}

// register adds the health service to server. Call it last: every service that
// server has by then is one that can be asked for.
func (h *health) register(server *connect.Server) error {
	service, err := healthSchema()
	if err != nil {
		return err
	}
	for spec := range server.Specs() {
		h.services[serviceName(spec.Procedure)] = true
	}
	h.services[healthService] = true
	check, watch := service.Methods().ByName("Check"), service.Methods().ByName("Watch")
	server.Register(
		connect.Method{
			Spec: connect.Spec{Procedure: "/" + healthService + "/Check", Schema: check, IdempotencyLevel: connect.IdempotencyNoSideEffects},
			Handler: func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
				return h.check(ctx, check, stream)
			},
		},
		connect.Method{
			Spec: connect.Spec{Procedure: "/" + healthService + "/Watch", Schema: watch, StreamType: connect.StreamTypeServer},
			Handler: func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
				return h.watch(ctx, watch, stream)
			},
		})
	return nil
}

func (h *health) check(ctx context.Context, method protoreflect.MethodDescriptor, stream connect.ServerStream) error {
	name, err := receiveHealthRequest(method, stream)
	if err != nil {
		return err
	}
	if !h.services[name] {
		return unknownHealth.errorf("this server has no service of that name")
	}
	return stream.Send(healthResponse(method, h.status(ctx, name)))
}

func (h *health) watch(ctx context.Context, method protoreflect.MethodDescriptor, stream connect.ServerStream) error {
	name, err := receiveHealthRequest(method, stream)
	if err != nil {
		return err
	}
	var changes <-chan time.Time
	if h.lease != nil {
		ticker := time.NewTicker(leaseCheck)
		defer ticker.Stop()
		changes = ticker.C
	}
	sent := protoreflect.EnumNumber(-1)
	for {
		stops := false
		select {
		case <-h.draining:
			stops = true
		default:
		}
		if status := h.status(ctx, name); status != sent {
			if err := stream.Send(healthResponse(method, status)); err != nil {
				return err
			}
			sent = status
		}
		if stops { // nothing changes any more
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.draining:
		case <-changes:
		}
	}
}

func (h *health) status(ctx context.Context, service string) protoreflect.EnumNumber {
	switch {
	case !h.services[service]:
		return healthUnknown
	case h.ready(ctx) != "":
		return healthNotServing
	}
	return healthServing
}

func receiveHealthRequest(method protoreflect.MethodDescriptor, stream connect.ServerStream) (string, error) {
	request := dynamicpb.NewMessage(method.Input())
	if err := stream.Receive(request); err != nil {
		return "", receiveError(err)
	}
	return request.Get(method.Input().Fields().ByName("service")).String(), nil
}

func healthResponse(method protoreflect.MethodDescriptor, status protoreflect.EnumNumber) proto.Message {
	response := dynamicpb.NewMessage(method.Output())
	response.Set(method.Output().Fields().ByName("status"), protoreflect.ValueOfEnum(status))
	return response
}

// healthSchema builds the descriptor of grpc.health.v1.Health. It is not put into
// the global registry, where a program that links grpc-go has it already.
func healthSchema() (protoreflect.ServiceDescriptor, error) {
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, typeName *string) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: &name, JsonName: &name, Number: &number, Type: kind.Enum(), TypeName: typeName,
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	value := func(name string, number protoreflect.EnumNumber) *descriptorpb.EnumValueDescriptorProto {
		return &descriptorpb.EnumValueDescriptorProto{Name: &name, Number: new(int32(number))}
	}
	method := func(name string, streams bool) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: &name, ServerStreaming: &streams,
			InputType:  new(".grpc.health.v1.HealthCheckRequest"),
			OutputType: new(".grpc.health.v1.HealthCheckResponse"),
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("grpc/health/v1/health.proto"), Package: new("grpc.health.v1"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name:  new("HealthCheckRequest"),
			Field: []*descriptorpb.FieldDescriptorProto{field("service", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING, nil)},
		}, {
			Name: new("HealthCheckResponse"),
			Field: []*descriptorpb.FieldDescriptorProto{field("status", 1, descriptorpb.FieldDescriptorProto_TYPE_ENUM,
				new(".grpc.health.v1.HealthCheckResponse.ServingStatus"))},
			EnumType: []*descriptorpb.EnumDescriptorProto{{
				Name: new("ServingStatus"),
				Value: []*descriptorpb.EnumValueDescriptorProto{
					value("UNKNOWN", 0), value("SERVING", healthServing), value("NOT_SERVING", healthNotServing), value("SERVICE_UNKNOWN", healthUnknown),
				},
			}},
		}},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name:   new("Health"),
			Method: []*descriptorpb.MethodDescriptorProto{method("Check", false), method("Watch", true)},
		}},
	}, nil)
	if err != nil {
		return nil, err
	}
	return file.Services().ByName("Health"), nil
}
