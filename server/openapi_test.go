// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
	boardv1 "github.com/troupe-dev/troupe/gen/go/board/v1"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func parseJSON(t *testing.T, text string) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

// apiSchemas compiles schemas of a document.
func apiSchemas(t *testing.T, document any) func(location string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("mem:openapi.json", document); err != nil {
		t.Fatal(err)
	}
	return func(location string) *jsonschema.Schema {
		schema, err := compiler.Compile("mem:openapi.json#" + location)
		if err != nil {
			t.Fatal(err)
		}
		return schema
	}
}

// assertOpenAPI holds a document to the published schema of OpenAPI 3.1, and its own
// schemas to that of JSON schema.
func assertOpenAPI(t *testing.T, document any) {
	t.Helper()
	text, err := os.ReadFile("../third_party/openapi/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("mem:oas.json", parseJSON(t, string(text))); err != nil {
		t.Fatal(err)
	}
	oas, err := compiler.Compile("mem:oas.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := oas.Validate(document); err != nil {
		t.Errorf("the document is not OpenAPI 3.1: %v", err)
	}
	compile := apiSchemas(t, document)
	for name := range part(document, "components", "schemas") {
		compile("/components/schemas/" + name)
	}
}

// part is an object inside a document.
func part(document any, path ...string) map[string]any {
	for _, name := range path {
		document = document.(map[string]any)[name]
	}
	return document.(map[string]any)
}

// TestOpenAPIOfEveryExample describes schemas of every kind.
func TestOpenAPIOfEveryExample(t *testing.T) {
	t.Parallel()
	var services []protoreflect.ServiceDescriptor
	for _, file := range []protoreflect.FileDescriptor{
		agentv1.File_agent_v1_agent_proto, boardv1.File_board_v1_board_proto, chatv1.File_chat_v1_chat_proto,
		counterv1.File_counter_v1_counter_proto, troupev1.File_troupe_v1_actor_service_proto,
	} {
		services = append(services, file.Services().Get(0))
	}
	text, err := openAPI(services, map[string]bool{"/chat.v1.ChatRoom/Subscribe": true}, map[string]bool{"/chat.v1.ChatRoom/Remind": true}, true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := openAPI(services, map[string]bool{"/chat.v1.ChatRoom/Subscribe": true}, map[string]bool{"/chat.v1.ChatRoom/Remind": true}, true)
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("two documents of one schema differ, %v", err)
	}
	document := parseJSON(t, string(text))
	assertOpenAPI(t, document)
	paths := part(document, "paths")
	for path, methods := range map[string][]string{
		"/chat.v1.ChatRoom/Send": {"post"}, "/chat.v1.ChatRoom/History": {"get", "post"}, "/chat.v1.ChatRoom/Subscribe": {"get"},
		"/chat.v1.ChatRoom/Remind": nil, "/agent.v1.Assistant/Ask": nil,
		"/troupe.v1.ActorService/Get": {"get", "post"}, "/troupe.v1.ActorService/Watch": nil,
	} {
		var got []string
		if item, ok := paths[path].(map[string]any); ok {
			for method := range item {
				got = append(got, method)
			}
		}
		if slices.Sort(got); !slices.Equal(got, methods) {
			t.Errorf("%s has %v, want %v", path, got, methods)
		}
	}
	compile := apiSchemas(t, document)
	for name, c := range map[string]struct{ good, bad []string }{
		"chat.v1.SendRequest":         {[]string{`{"text":"x"}`}, []string{`{"text":""}`, `{"text":1}`, `"x"`}},
		"chat.v1.HistoryRequest":      {[]string{`{}`, `{"limit":1000}`}, []string{`{"limit":1001}`, `{"limit":-1}`, `{"limit":"x"}`}},
		"troupe.v1.GetRequest":        {[]string{`{"address":{"type":"t","key":["a"]}}`}, []string{`{}`, `{"address":{"key":"a"}}`}},
		"troupe.v1.ListRequest":       {[]string{`{"pageSize":5}`}, []string{`{"pageSize":1001}`}},
		"troupe.v1.RepairRequest":     {[]string{`{"address":{},"revision":"7","json":"{}"}`, `{"address":{},"revision":7}`}, []string{`{"address":{},"binary":"","json":""}`, `{"address":{},"revision":"x"}`}},
		"chat.v1.Message":             {[]string{`{"sentAt":"2026-11-24T00:00:00Z"}`}, []string{`{"sentAt":1}`}},
		"counter.v1.IncrementRequest": {[]string{`{"amount":"5"}`, `{"amount":-5}`}, []string{`{"amount":"five"}`, `{"amount":true}`}},
	} {
		schema := compile("/components/schemas/" + name)
		for _, text := range c.good {
			if err := schema.Validate(parseJSON(t, text)); err != nil {
				t.Errorf("%s refuses %s: %v", name, text, err)
			}
		}
		for _, text := range c.bad {
			if schema.Validate(parseJSON(t, text)) == nil {
				t.Errorf("%s takes %s", name, text)
			}
		}
	}
}

// TestOpenAPI holds that the server serves the document where it serves reflection, and
// that what it answers is what the document says.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	response, text := do(t, b.h1, b.url+openAPIPath, "", nil)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %v", response.StatusCode, response.Header)
	}
	document := parseJSON(t, text)
	assertOpenAPI(t, document)
	compile := apiSchemas(t, document)
	for _, c := range []struct{ path, body, schema string }{
		{"/counter.v1.Counter/Increment", `{"amount":5}`, "/components/schemas/counter.v1.IncrementResponse"},
		{"/counter.v1.Counter/Get?connect=v1&encoding=json&message=%7B%7D", "", "/components/schemas/counter.v1.GetResponse"},
		{"/troupe.v1.ActorService/Get", `{"address":{"type":"counter.v1.Counter","key":["a"]}}`, "/components/schemas/troupe.v1.GetResponse"},
		{"/troupe.v1.ActorService/List", `{}`, "/components/schemas/troupe.v1.ListResponse"},
		{"/counter.v1.Counter/Fail", `{}`, "/components/responses/Error/content/application~1json/schema"},
		{"/counter.v1.Counter/Increment", `{"amount":0}`, "/components/responses/Error/content/application~1json/schema"},
	} {
		_, reply := do(t, b.h1, b.url+c.path, c.body, http.Header{"Actor-Key": {"a"}})
		if err := compile(c.schema).Validate(parseJSON(t, reply)); err != nil {
			t.Errorf("%s answers %s: %v", c.path, reply, err)
		}
		operation := "post"
		if c.body == "" {
			operation = "get"
		}
		path, _, _ := strings.Cut(c.path, "?")
		part(document, "paths", path, operation)
	}
	hidden := setup(t, func(cfg *Config) { cfg.Reflection = "off" })
	if response, _ := do(t, hidden.h1, hidden.url+openAPIPath, "", nil); response.StatusCode != http.StatusNotFound {
		t.Errorf("without reflection: %d", response.StatusCode)
	}
	own := setup(t, func(cfg *Config) {
		cfg.Handlers = map[string]http.Handler{openAPIPath: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answerText(w, http.StatusOK, "mine") })}
	})
	if _, text := do(t, own.h1, own.url+openAPIPath, "", nil); text != "mine" {
		t.Errorf("a handler of the author's own: %s", text)
	}
}
