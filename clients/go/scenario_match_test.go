// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
	troupe "github.com/troupe-dev/troupe/clients/go"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// difference says where got does not have what want names, or nothing; see
// clients/scenarios/README.md.
func difference(want, got any, where string) string {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return where + " should be an object"
		}
		for name, value := range want {
			if why := difference(value, object[name], where+"."+name); why != "" {
				return why
			}
		}
		return ""
	case []any:
		list, _ := got.([]any)
		if len(list) != len(want) {
			return fmt.Sprintf("%s should be %v, and is %v", where, want, got)
		}
		for i, value := range want {
			if why := difference(value, list[i], fmt.Sprintf("%s[%d]", where, i)); why != "" {
				return why
			}
		}
		return ""
	}
	if isDefault(want) && isDefault(got) || want == got {
		return ""
	}
	return fmt.Sprintf("%s should be %v, and is %v", where, want, got)
}

func isDefault(value any) bool {
	list, isList := value.([]any)
	return value == nil || value == "" || value == 0.0 || value == false || isList && len(list) == 0
}

// match is difference as an error.
func match(want, got any, where string) error {
	if why := difference(want, got, where); why != "" {
		return errors.New(why)
	}
	return nil
}

// asJSON is a message as scenarios write it.
func asJSON(m proto.Message) any {
	text, err := protojson.Marshal(m)
	if err != nil {
		return err.Error()
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return err.Error()
	}
	return value
}

// fromJSON fills a message with what a scenario wrote.
func fromJSON(value map[string]any, m proto.Message) error {
	if value == nil {
		return nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return protojson.Unmarshal(text, m)
}

// errorJSON is an error as scenarios write it.
func errorJSON(err error) map[string]any {
	var violations []any
	for _, v := range troupe.Violations(err) {
		violations = append(violations, map[string]any{"field": v.Field, "rule": v.Rule})
	}
	metadata := make(map[string]any)
	for key, value := range troupe.Metadata(err) {
		metadata[key] = value
	}
	object := map[string]any{
		"code":       connect.CodeOf(err).String(),
		"reason":     troupe.Reason(err),
		"outcome":    strings.ToLower(strings.TrimPrefix(troupe.OutcomeOf(err).String(), "OUTCOME_")),
		"violations": violations,
		"metadata":   metadata,
		"correlated": troupe.CorrelationID(err) != "",
	}
	if wire, ok := errors.AsType[*connect.Error](err); ok {
		object["message"] = wire.Message()
		for _, d := range wire.Details() {
			info := new(errdetails.ErrorInfo)
			if d.Type == string(info.ProtoReflect().Descriptor().FullName()) && proto.Unmarshal(d.Value, info) == nil {
				object["domain"] = info.GetDomain()
			}
		}
	}
	return object
}

// scenario is one scenario of clients/scenarios/list.
type scenario struct {
	Name   string         `json:"name"`
	Only   []string       `json:"only"`
	Server map[string]any `json:"server"`
	Steps  []step         `json:"steps"`
}

// forProtocol reports whether the scenario makes sense for a protocol.
func (s *scenario) forProtocol(protocol string) bool {
	return len(s.Only) == 0 || slices.Contains(s.Only, protocol)
}

// step is one step; which fields it has depends on what it does.
type step struct {
	Do             string            `json:"do"`
	As             string            `json:"as"`
	On             string            `json:"on"`
	Handle         string            `json:"handle"`
	Connection     string            `json:"connection"`
	Call           string            `json:"call"`
	Verb           string            `json:"verb"`
	Key            []string          `json:"key"`
	ID             string            `json:"id"`
	Input          map[string]any    `json:"input"`
	Params         json.RawMessage   `json:"params"`
	Direct         bool              `json:"direct"`
	Method         string            `json:"method"`
	Request        map[string]any    `json:"request"`
	Reply          map[string]any    `json:"reply"`
	Error          map[string]any    `json:"error"`
	Created        *bool             `json:"created"`
	SaveID         string            `json:"saveId"`
	SaveCursor     string            `json:"saveCursor"`
	TimeoutMs      int               `json:"timeoutMs"`
	IdempotencyKey string            `json:"idempotencyKey"`
	Get            bool              `json:"get"`
	Eventually     bool              `json:"eventually"`
	Later          string            `json:"later"`
	Messages       []any             `json:"messages"`
	Leave          bool              `json:"leave"`
	Events         []string          `json:"events"`
	Cursor         string            `json:"cursor"`
	Entries        []entry           `json:"entries"`
	Is             string            `json:"is"`
	Act            string            `json:"act"`
	Ms             int               `json:"ms"`
	Path           string            `json:"path"`
	Headers        map[string]string `json:"headers"`
	Body           string            `json:"body"`
	Status         int               `json:"status"`
	JSON           map[string]any    `json:"json"`
	Send           []string          `json:"send"`
	Receive        []any             `json:"receive"`
}

// entry is what an expect step waits for.
type entry struct {
	Opened  map[string]any `json:"opened"`
	Closed  map[string]any `json:"closed"`
	Event   string         `json:"event"`
	Value   map[string]any `json:"value"`
	From    *int           `json:"from"`
	To      int            `json:"to"`
	Reopens *int           `json:"reopens"`
	Skip    bool           `json:"skip"`
}
