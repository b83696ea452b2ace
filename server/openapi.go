// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// openAPIPath is where a server that serves reflection has its description.
const openAPIPath = "/openapi.json"

// object is a JSON object.
type object = map[string]any

// openAPI describes in OpenAPI 3.1 what the server answers in JSON: the unary methods
// of services, as Connect has them, and subscriptions as server-sent events. Internal
// methods and streaming actions are not part of it: the former cannot be called, and
// the latter are not plain JSON.
func openAPI(services []protoreflect.ServiceDescriptor, subscriptions map[string]bool, internal map[string]bool, get bool) ([]byte, error) {
	d := &apiDocument{schemas: newJSONSchemas(services), subscriptions: subscriptions, internal: internal, get: get, paths: object{}}
	var tags []object
	for _, service := range services {
		tags = append(tags, object{"name": string(service.FullName())})
		for i := range service.Methods().Len() {
			d.add(service, service.Methods().Get(i))
		}
	}
	document := object{
		"openapi":           "3.1.0",
		"jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
		"info": object{
			"title": "Actors",
			"description": "An actor is named by the header actor-key or actor-id, or by the URL form " +
				"/actors/{namespace}/{key segments}/@/{package.Service}/{Method}, which takes the same requests.",
		},
		"tags":  tags,
		"paths": d.paths,
		"components": object{
			"schemas":    d.schemas.all,
			"parameters": apiParameters(),
			"headers":    apiHeaders(),
			"responses":  object{"Error": apiError()},
		},
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("describe the services: %w", err)
	}
	digest := sha256.Sum256(text)
	document["info"].(object)["version"] = hex.EncodeToString(digest[:6]) //nolint:forcetypeassert // see above
	return json.MarshalIndent(document, "", "  ")
}

// apiDocument collects the paths of a document.
type apiDocument struct {
	schemas       *jsonSchemas
	subscriptions map[string]bool // by procedure
	internal      map[string]bool
	get           bool // read-only methods answer HTTP GET
	paths         object
}

func (d *apiDocument) add(service protoreflect.ServiceDescriptor, method protoreflect.MethodDescriptor) {
	procedure := "/" + string(service.FullName()) + "/" + string(method.Name())
	actor := service.ParentFile().Package() != errorDomain
	switch {
	case d.internal[procedure], method.IsStreamingClient():
	case d.subscriptions[procedure] && d.get:
		operation := d.operation(service, method, "Subscribe", true)
		operation["parameters"] = append(references("parameters", "resume", "lastEventID", "events"), slices.Concat(
			references("parameters", "key", "id", "namespace"), []any{d.messageParameter(method, false)})...)
		operation["responses"] = object{
			"200":     object{"description": "Events; the data of each is a frame.", "content": object{eventStreamType: object{"schema": object{"type": "string"}}}},
			"default": reference("responses", "Error"),
		}
		operation["x-event"] = d.schemas.reference(method.Output())
		d.paths[procedure] = object{"get": operation}
	case method.IsStreamingServer():
	default:
		post := d.operation(service, method, "", actor)
		post["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": d.schemas.reference(method.Input())}}}
		item := object{"post": post}
		if d.get && wireLevel(method) == connect.IdempotencyNoSideEffects {
			read := d.operation(service, method, "ByGet", actor)
			parameters, _ := read["parameters"].([]any)
			read["parameters"] = append(parameters, d.messageParameter(method, true), object{
				"name": "encoding", "in": "query", "required": true, "schema": object{"const": "json"},
			})
			item["get"] = read
		}
		d.paths[procedure] = item
	}
}

// operation is what the operations of a method have in common.
func (d *apiDocument) operation(service protoreflect.ServiceDescriptor, method protoreflect.MethodDescriptor, suffix string, actor bool) object {
	operation := object{
		"operationId": strings.ReplaceAll(string(method.FullName()), ".", "_") + suffix,
		"tags":        []string{string(service.FullName())},
		"responses": object{
			"200": object{
				"description": "The reply.",
				"content":     object{"application/json": object{"schema": d.schemas.reference(method.Output())}},
			},
			"default": reference("responses", "Error"),
		},
	}
	if !actor {
		return operation
	}
	names := []string{"key", "id", "namespace", "resolve", "input", "params", "connection", "idempotencyKey"}
	operation["parameters"] = references("parameters", names...)
	operation["responses"].(object)["200"].(object)["headers"] = object{ //nolint:forcetypeassert // see above
		"actor-id": reference("headers", "id"), "actor-cursor": reference("headers", "cursor"), "actor-created": reference("headers", "created"),
	}
	return operation
}

// messageParameter is the request in the query of a GET.
func (d *apiDocument) messageParameter(method protoreflect.MethodDescriptor, required bool) object {
	return object{
		"name": "message", "in": "query", "required": required,
		"content": object{"application/json": object{"schema": d.schemas.reference(method.Input())}},
	}
}

func wireLevel(method protoreflect.MethodDescriptor) connect.IdempotencyLevel {
	options, ok := method.Options().(interface{ GetIdempotencyLevel() idempotencyLevel })
	if !ok {
		return connect.IdempotencyUnknown
	}
	return connect.IdempotencyLevel(options.GetIdempotencyLevel())
}

func reference(kind, name string) object { return object{"$ref": "#/components/" + kind + "/" + name} }

func references(kind string, names ...string) (list []any) {
	for _, name := range names {
		list = append(list, reference(kind, name))
	}
	return list
}

// apiParameters are the metadata of a call.
func apiParameters() object {
	text := object{"type": "string"}
	list := object{}
	for _, p := range []struct {
		name, header, description string
		schema                    object
	}{
		{"key", wire.HeaderKey, "The key's segments, each percent-encoded, joined by slashes. Absent is the empty key.", text},
		{"id", wire.HeaderID, "One incarnation, instead of a key.", text},
		{"namespace", wire.HeaderNamespace, "The tenant.", object{"type": "string", "default": wire.DefaultNamespace}},
		{"resolve", wire.HeaderResolve, "What to do about an actor that is absent or present.", object{
			"enum": []string{wire.ResolveGetOrCreate, wire.ResolveGet, wire.ResolveCreate}, "default": wire.ResolveGetOrCreate,
		}},
		{"input", wire.HeaderInput, "The binary input message of a creation.", object{"type": "string", "contentEncoding": "base64"}},
		{"params", wire.HeaderParams, "The binary connection parameters of a call outside a connection.", object{"type": "string", "contentEncoding": "base64"}},
		{"connection", wire.HeaderConn, "The connection that the call belongs to.", text},
		{"idempotencyKey", wire.HeaderIdempotencyKey, "Requests of one key have one effect and one answer.", object{"type": "string", "maxLength": wire.MaxIdempotencyKey}},
		{"resume", wire.HeaderResume, "The cursor to go on from.", text},
		{"lastEventID", headerLastEventID, "As actor-resume.", text},
		{"events", wire.HeaderEvents, "The events wanted, with commas between. Absent is all.", text},
	} {
		list[p.name] = object{"name": strings.ToLower(p.header), "in": "header", "description": p.description, "schema": p.schema}
	}
	return list
}

// apiHeaders are the metadata of a reply.
func apiHeaders() object {
	text := object{"type": "string"}
	return object{
		"id":      object{"description": "Who answered.", "schema": text},
		"cursor":  object{"description": "The actor's event cursor as of the reply.", "schema": text},
		"created": object{"description": "Whether the call created the actor.", "schema": object{"const": "true"}},
	}
}

// apiError is Connect's error in JSON.
func apiError() object {
	return object{"description": "An error.", "content": object{"application/json": object{"schema": object{
		"type": "object", "required": []string{"code"},
		"properties": object{
			"code":    object{"type": "string", "description": "The code's name, such as not_found."},
			"message": object{"type": "string"},
			"details": object{"type": "array", "items": object{
				"type": "object", "required": []string{"type", "value"},
				"properties": object{
					"type":  object{"type": "string", "description": "The full name of the message, such as google.rpc.ErrorInfo."},
					"value": object{"type": "string", "description": "The message, binary, in base64 without padding."},
					"debug": object{"description": "The message in JSON."},
				},
			}},
		},
	}}}}
}

// serveOpenAPI serves the description, which never changes.
func serveOpenAPI(document []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(headerContentType, "application/json")
		w.Header()["Cache-Control"] = valueNoStore
		_, _ = w.Write(document) // the caller is gone
	}
}
