// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"context"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/proto"
)

// Resolve says what a call does about the actor's existence.
type Resolve string

// The ways to resolve a key.
const (
	// GetOrCreate creates the actor if it is absent. The default.
	GetOrCreate Resolve = wire.ResolveGetOrCreate
	// Get fails with not_found if the actor is absent.
	Get Resolve = wire.ResolveGet
	// Create fails with already_exists if the actor is present.
	Create Resolve = wire.ResolveCreate
)

// Address names an actor and says how calls reach it. The zero Address is the
// singleton with the empty key.
type Address struct {
	// Key is the actor's key. Excludes ID.
	Key []string
	// ID names one incarnation. Excludes Key, Resolve and Input.
	ID string
	// Namespace is the tenant. Default: the client's.
	Namespace string
	// Resolve is what happens if the actor is absent or present. Default:
	// [GetOrCreate].
	Resolve Resolve
	// Input is the actor type's input message, used only by the call that
	// creates the actor. One of more than 4 KiB encoded goes through the
	// lifecycle service, before the first call, and with [Create] that is what
	// fails if the actor is present. Default: none.
	Input proto.Message
	// Params is the connection parameters of calls made outside a connection:
	// the request message of the actor's subscription. At most 4 KiB encoded.
	// Default: none.
	Params proto.Message
}

// addressHeaders are the request metadata that an address owns.
var addressHeaders = []string{
	wire.HeaderKey, wire.HeaderID, wire.HeaderResolve, wire.HeaderInput, wire.HeaderNamespace, wire.HeaderParams,
}

type header struct{ name, value string }

// encode returns the metadata that stands for the address.
func (a Address) encode(namespace string) ([]header, error) {
	if a.ID != "" {
		return a.encodeID(namespace)
	}
	key, err := wire.EncodeKey(a.Key)
	if err != nil {
		return nil, localErrorf("%v", err)
	}
	var headers []header
	if key != "" {
		headers = append(headers, header{wire.HeaderKey, key})
	}
	switch a.Resolve {
	case "", GetOrCreate:
	case Get, Create:
		headers = append(headers, header{wire.HeaderResolve, string(a.Resolve)})
	default:
		return nil, localErrorf("resolve %q is none of %s, %s and %s", a.Resolve, GetOrCreate, Get, Create)
	}
	if a.Input != nil {
		if a.Resolve == Get {
			return nil, localErrorf("an address that creates no actor takes no input")
		}
		value, err := encodeMessage("input", a.Input)
		if err != nil {
			return nil, err
		}
		headers = append(headers, header{wire.HeaderInput, value})
	}
	return a.encodeCommon(headers, namespace)
}

func (a Address) encodeID(namespace string) ([]header, error) {
	switch {
	case a.ID == "":
		return nil, localErrorf("the actor id is empty")
	case len(a.Key) > 0:
		return nil, localErrorf("an address has a key or an id, not both")
	case a.Resolve != "" || a.Input != nil:
		return nil, localErrorf("an address by id creates no actor and takes neither resolve nor input")
	}
	for i := range len(a.ID) {
		if c := a.ID[i]; c <= ' ' || c > '~' {
			return nil, localErrorf("%q is not an actor id", a.ID)
		}
	}
	return a.encodeCommon([]header{{wire.HeaderID, a.ID}}, namespace)
}

// encodeCommon adds what addresses by key and by id share.
func (a Address) encodeCommon(headers []header, namespace string) ([]header, error) {
	if a.Namespace != "" {
		namespace = a.Namespace
	}
	if namespace != "" {
		if err := wire.CheckNamespace(namespace); err != nil {
			return nil, localErrorf("%v", err)
		}
		headers = append(headers, header{wire.HeaderNamespace, namespace})
	}
	if a.Params != nil {
		value, err := encodeMessage("params", a.Params)
		if err != nil {
			return nil, err
		}
		headers = append(headers, header{wire.HeaderParams, value})
	}
	return headers, nil
}

func encodeMessage(what string, message proto.Message) (string, error) {
	data, err := proto.Marshal(message)
	if err != nil {
		return "", localErrorf("the address's %s: %v", what, err)
	}
	if len(data) > wire.MaxBinaryHeaderBytes {
		return "", localErrorf("the address's %s has %d bytes, of at most %d", what, len(data), wire.MaxBinaryHeaderBytes)
	}
	return connect.EncodeBinaryHeader(data), nil
}

// bindAddress sets the address on every call, or fails it with err. It removes
// another address first: a caller may use one CallInfo for calls to two actors.
func bindAddress(headers []header, err error) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if err != nil {
				return nil, err
			}
			ctx, info := callInfo(ctx)
			request := info.RequestHeader()
			for _, name := range addressHeaders {
				request.Delete(name)
			}
			for _, h := range headers {
				request.Set(h.name, h.value)
			}
			if request.Get(wire.HeaderIdempotencyKey) == "" {
				request.Delete(wire.HeaderIdempotencyKey) // to net/http it is a key, to a server none
			}
			return next(ctx, spec)
		}
	}
}
