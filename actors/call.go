// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/proto"
)

// Resolve says what a call does about an actor that is absent or present.
type Resolve uint8

const (
	// GetOrCreate creates an absent actor. The default.
	GetOrCreate Resolve = iota
	// Get fails with not_found if the actor is absent.
	Get
	// Create fails with already_exists if the actor is present.
	Create
)

// Target names the actor of a call: by key, or by id for one incarnation.
type Target struct {
	// Address is the actor's namespace, type and canonical key. With an ID
	// only its namespace counts, and its type unless empty.
	Address store.Address
	// ID, unless zero, is used instead of the key.
	ID store.ID
	// Resolve says what to do about an absent or present actor. An ID implies
	// [Get].
	Resolve Resolve
}

// Call is one call of an action, or one subscription, as the edge hands it over.
// The host validates Request, Input and Params; it does not keep the Call after
// it has answered.
type Call struct {
	Target

	// Method is what is called.
	Method *Method
	// Request is the decoded request; the host takes it over.
	Request proto.Message
	// Input, unless nil, is the encoded input message for a creation.
	Input []byte
	// Params, unless nil, is the encoded parameters of a call outside a
	// connection.
	Params []byte
	// Conn, unless empty, is the id and secret of the connection that the
	// call belongs to.
	Conn string
	// Resume, unless empty, is the cursor that a subscription goes on from.
	Resume string
	// Events, unless empty, names the events that a subscription wants, with
	// commas between: fields of the event union, as in the schema or in JSON.
	Events string
	// Shared says that a subscription shares its stream with others. The stream
	// has a heartbeat of its own: the subscription sends one only when its cursor
	// has moved without an event.
	Shared bool
	// Subject is who calls; empty is anonymous. A connection belongs to the
	// subject that opened it.
	Subject string
	// IdempotencyKey, unless empty, makes repeated requests of one subject and
	// method have one effect and the first one's reply. It has at most 255 bytes.
	// Read-only methods and subscriptions ignore it, streaming actions refuse it.
	IdempotencyKey string
	// Internal says that the call comes from inside: from another actor or from
	// the program that runs the host. The edge leaves it false.
	Internal bool
	// Chain is the actors whose turns wait for the call, the first caller first.
	// The edge leaves it empty: it is nothing that a client can say.
	Chain []store.Address
	// Postmark, unless nil, names the message that the call delivers: of calls
	// with one postmark the first that succeeds has an effect, and the others
	// succeed without one.
	Postmark *Postmark
	// Forwarded says that another node has passed the call on: it is not passed on
	// again.
	Forwarded bool
	// Codec encodes the reply, inside the turn, and the frames of a
	// subscription.
	Codec Codec
	// Detach, unless nil, answers the caller while its own goroutine is still
	// in the turn. The host may then run the turn on that goroutine, which
	// saves two handovers, and the turn's time limit holds all the same: if
	// the turn does not end in time, Detach is called from another goroutine,
	// once, and [Host.Call] returns after it, when the turn's code lets it.
	Detach func(err *connect.Error)
	// Info, unless nil, is the caller's metadata; handlers reach it by
	// [connect.CallInfoForServerContext]. Response headers that the method
	// sets are kept with the reply and dropped by a rollback.
	Info *connect.CallInfo

	ours   bool  // the host's own turn: it waits in a full mailbox too
	host   *Host // set by the host before it runs a hook
	caller *turn // the turn that waits for the call in this process; nil without one
}

// Codec encodes messages for one wire encoding.
type Codec interface {
	// Name is the encoding's token, such as "proto" or "json". Messages
	// encoded by codecs of one name are interchangeable.
	Name() string
	// Append appends the encoding of message to dst.
	Append(dst []byte, message proto.Message) ([]byte, error)
}

// Reply is the answer of an action; all it reports is durable.
type Reply struct {
	// Body is the response as the call's codec encoded it.
	Body []byte
	// ID is the incarnation that answered.
	ID store.ID
	// Cursor is the actor's event cursor as of the reply.
	Cursor string
	// Created says whether this call created the actor.
	Created bool
	// Header is the response metadata that the method set; nil if it set none.
	Header *connect.Header
}

// Sink takes the frames of one subscription, in order. The host calls it from one
// goroutine.
type Sink interface {
	// Send writes one frame to the peer and may block. more says that another
	// frame is ready, so that flushing can wait. An error ends the
	// subscription.
	Send(frame *Frame, more bool) error
}
