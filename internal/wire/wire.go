// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package wire names the metadata that addresses an actor and encodes keys. Both
// sides of the wire use it.
package wire

// Request metadata.
const (
	// HeaderKey names an actor by its key's segments: see [EncodeKey].
	HeaderKey = "Actor-Key"
	// HeaderID names one incarnation of an actor.
	HeaderID = "Actor-Id"
	// HeaderResolve is one of the Resolve values.
	HeaderResolve = "Actor-Resolve"
	// HeaderInput is the input message of a creation, in base64.
	HeaderInput = "Actor-Input-Bin"
	// HeaderNamespace is the tenant.
	HeaderNamespace = "Actor-Namespace"
	// HeaderParams is the connection parameters of a call outside a
	// connection, in base64.
	HeaderParams = "Actor-Params-Bin"
	// HeaderConn is the id and secret of the connection a call belongs to.
	HeaderConn = "Actor-Conn"
	// HeaderResume is the cursor a subscription goes on from.
	HeaderResume = "Actor-Resume"
	// HeaderEvents names the events that a subscription wants.
	HeaderEvents = "Actor-Events"
	// HeaderIdempotencyKey makes a repeated request have one effect.
	HeaderIdempotencyKey = "Idempotency-Key"
)

// Response metadata; HeaderID is sent back too.
const (
	// HeaderCursor is the actor's event cursor, as of the reply.
	HeaderCursor = "Actor-Cursor"
	// HeaderCreated is "true" on the reply of a call that created the actor.
	HeaderCreated = "Actor-Created"
)

// SubjectOfActors begins the subject of a call that an actor makes. No caller from
// outside has such a one.
const SubjectOfActors = "actor:"

// Values of [HeaderResolve].
const (
	// ResolveGetOrCreate creates the actor if it is absent. The default.
	ResolveGetOrCreate = "get-or-create"
	// ResolveGet fails with not_found if the actor is absent.
	ResolveGet = "get"
	// ResolveCreate fails with already_exists if the actor is present.
	ResolveCreate = "create"
)

// MaxIdempotencyKey bounds the value of [HeaderIdempotencyKey], in bytes.
const MaxIdempotencyKey = 255

// DefaultNamespace is the namespace of a request that names none.
const DefaultNamespace = "default"

// Limits of an address.
const (
	// MaxSegmentBytes bounds one segment of a key, decoded.
	MaxSegmentBytes = 128
	// MaxKeyBytes bounds all segments of a key together, decoded.
	MaxKeyBytes = 1024
	// MaxSegments bounds the number of segments of a key.
	MaxSegments = 32
	// MaxBinaryHeaderBytes bounds a decoded -bin header.
	MaxBinaryHeaderBytes = 4096
	// MaxNamespaceBytes bounds a namespace.
	MaxNamespaceBytes = 64
)
