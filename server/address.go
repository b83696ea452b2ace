// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/base64"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/internal/wire"
)

const (
	maxConnText   = 256
	maxResumeText = 256
	maxEventsText = 4096
)

// headerLastEventID is what an EventSource sends when it connects again.
const headerLastEventID = "Last-Event-Id"

// metadata is the address of a call as its sender wrote it.
type metadata struct {
	key, id, resolve, input, namespace, params, conn, resume, idempotency string
	lastEventID, events                                                   string
	hasInput, hasParams                                                   bool
	twice                                                                 string // a header that came more than once
}

// readMetadata picks what addresses an actor out of a request's headers, in one
// pass over them.
func readMetadata(header *connect.Header) (m metadata) {
	for name, values := range header.All() {
		if len(values) == 0 || name[0] != 'A' && name[0] != 'I' && name[0] != 'L' {
			continue
		}
		value := values[0]
		switch name {
		case wire.HeaderKey:
			m.key = value
		case wire.HeaderID:
			m.id = value
		case wire.HeaderResolve:
			m.resolve = value
		case wire.HeaderInput:
			m.input, m.hasInput = value, true
		case wire.HeaderNamespace:
			m.namespace = value
		case wire.HeaderParams:
			m.params, m.hasParams = value, true
		case wire.HeaderConn:
			m.conn = value
		case wire.HeaderResume:
			m.resume = value
		case wire.HeaderEvents:
			m.events = value
		case wire.HeaderIdempotencyKey:
			m.idempotency = value
		case headerLastEventID:
			m.lastEventID = value
		default:
			continue
		}
		if len(values) > 1 {
			m.twice = name
		}
	}
	return m
}

// namespaces says which tenants the server has.
type namespaces struct {
	any  bool
	list map[string]bool
}

func newNamespaces(names []string) namespaces {
	n := namespaces{list: make(map[string]bool, len(names))}
	for _, name := range names {
		if name == "*" {
			n.any = true
			continue
		}
		n.list[name] = true
	}
	return n
}

// check returns the namespace that text names. A caller who may not name it does
// not learn whether there is one.
func (n namespaces) check(caller *Principal, text string) (string, error) {
	if text == "" {
		text = wire.DefaultNamespace
	}
	known := n.list[text]
	if !known {
		if err := wire.CheckNamespace(text); err != nil {
			return "", badNamespace.errorf("%s", err)
		}
	}
	if !caller.may(text) {
		return "", namespaceDenied.errorf("the caller may not use the namespace %q", text)
	}
	if known {
		return text, nil
	}
	if !n.any {
		return "", unknownNamespace.errorf("this server has no namespace %q", text)
	}
	return text, nil
}

// fill puts the address and everything else that the metadata says into call.
// caller is who calls. byGet says that the request is an HTTP GET, which creates nothing.
func (m *metadata) fill(call *actors.Call, caller *Principal, namespaces namespaces, byGet bool) error {
	if m.twice != "" {
		return refusalOf(m.twice).errorf("%s has more than one value", strings.ToLower(m.twice))
	}
	namespace, err := namespaces.check(caller, m.namespace)
	if err != nil {
		return err
	}
	call.Subject = caller.subject()
	call.Address = store.Address{Namespace: namespace, Type: call.Method.Type}
	if m.id != "" {
		if m.key != "" {
			return addressConflict.errorf("actor-key and actor-id exclude each other")
		}
		if call.ID, err = store.ParseID(m.id); err != nil {
			return badActorID.errorf("%s", err)
		}
	} else if call.Address.Key, err = wire.CanonicalKey(m.key); err != nil {
		return badActorKey.errorf("%s", err)
	}
	if call.Resolve, err = m.resolution(byGet); err != nil {
		return err
	}
	return m.rest(call)
}

// resolution says what becomes of an absent or a present actor.
func (m *metadata) resolution(byGet bool) (actors.Resolve, error) {
	switch m.resolve {
	case "":
		if byGet || m.id != "" {
			return actors.Get, nil
		}
		return actors.GetOrCreate, nil
	case wire.ResolveGet:
		return actors.Get, nil
	case wire.ResolveGetOrCreate:
		if byGet || m.id != "" {
			return actors.Get, nil
		}
		return actors.GetOrCreate, nil
	case wire.ResolveCreate:
		if m.id != "" {
			return 0, addressConflict.errorf("an actor-id names an actor that exists: actor-resolve cannot be create")
		}
		if byGet {
			return 0, badActorResolve.errorf("an HTTP GET creates nothing: actor-resolve cannot be create")
		}
		return actors.Create, nil
	}
	return 0, badActorResolve.errorf("actor-resolve is get-or-create, get or create")
}

// rest takes what is no part of the address.
func (m *metadata) rest(call *actors.Call) (err error) {
	if m.hasInput {
		if call.Input, err = binaryHeader(m.input, badActorInput, "actor-input-bin"); err != nil {
			return err
		}
	}
	if m.hasParams {
		if call.Params, err = binaryHeader(m.params, badActorParams, "actor-params-bin"); err != nil {
			return err
		}
	}
	if len(m.conn) > maxConnText {
		return badActorConn.errorf("actor-conn has at most %d characters", maxConnText)
	}
	call.Conn = m.conn
	if call.Resume = m.lastEventID; call.Resume == "" { // it is newer than what a URL began with
		call.Resume = m.resume
	}
	if len(call.Resume) > maxResumeText {
		return badActorResume.errorf("actor-resume has at most %d characters", maxResumeText)
	}
	if call.Events = m.events; len(call.Events) > maxEventsText {
		return badActorEvents.errorf("actor-events has at most %d characters", maxEventsText)
	}
	if len(m.idempotency) > wire.MaxIdempotencyKey {
		return badIdempotencyKey.errorf("idempotency-key has at most %d bytes", wire.MaxIdempotencyKey)
	}
	call.IdempotencyKey = m.idempotency
	return nil
}

// binaryHeader decodes a -bin header. What it returns is never nil.
func binaryHeader(text string, kind refusal, name string) ([]byte, error) {
	if base64.StdEncoding.DecodedLen(len(text)) > wire.MaxBinaryHeaderBytes+2 {
		return nil, kind.errorf("%s holds at most %d bytes", name, wire.MaxBinaryHeaderBytes)
	}
	data, err := connect.DecodeBinaryHeader(text)
	if err != nil {
		return nil, kind.errorf("%s is not one value in base64", name)
	}
	if len(data) > wire.MaxBinaryHeaderBytes {
		return nil, kind.errorf("%s holds at most %d bytes", name, wire.MaxBinaryHeaderBytes)
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// refusalOf is the kind of error about one header.
func refusalOf(header string) refusal {
	switch header {
	case wire.HeaderID:
		return badActorID
	case wire.HeaderResolve:
		return badActorResolve
	case wire.HeaderInput:
		return badActorInput
	case wire.HeaderNamespace:
		return badNamespace
	case wire.HeaderParams:
		return badActorParams
	case wire.HeaderConn:
		return badActorConn
	case wire.HeaderResume, headerLastEventID:
		return badActorResume
	case wire.HeaderEvents:
		return badActorEvents
	case wire.HeaderIdempotencyKey:
		return badIdempotencyKey
	}
	return badActorKey
}
